//! `/etc/vfioctl/vfioctl.toml`: what the administrator wants done without being asked.
//!
//! The file is root's, and one for all of vfioctl's programs. An unknown key is an error: a word that
//! is misspelt would otherwise be taken for one that is not there. What is in the tables of other
//! programs is theirs to check.

use std::path::Path;

use serde::Deserialize;
use vfioctl_core::pci::PciAddress;

/// Where the file lies, unless told otherwise.
pub(crate) const PATH: &str = "/etc/vfioctl/vfioctl.toml";
/// Longest file that is read: it has a few lines.
const MAX_BYTES: u64 = 64 << 10;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Configuration {
    /// What is to be isolated when the machine boots.
    pub(crate) at_boot: Option<AtBoot>,
}

/// What is to be isolated when the machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AtBoot {
    /// Every GPU, as far as the hardware can.
    Gpus,
    /// What is below these ports.
    Ports(Vec<PciAddress>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    acs: AcsTable,
    #[serde(default, rename = "host")]
    _host: OtherTable,
    #[serde(default, rename = "runner")]
    _runner: OtherTable,
}

/// A table that another program reads.
type OtherTable = std::collections::BTreeMap<String, serde::de::IgnoredAny>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcsTable {
    #[serde(default)]
    at_boot: bool,
    ports: Option<Vec<String>>,
    /// What the runner asks for when it starts. It is nothing that the helper does unasked.
    #[serde(rename = "override")]
    _override: Option<bool>,
}

/// Reads the file; where there is none, nothing is wanted.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Configuration, String> {
    use std::io::Read as _;
    let shown = path.display();
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Configuration::default());
        }
        Err(error) => return Err(format!("cannot read '{shown}': {error}")),
    };
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot read '{shown}': {error}"))?;
    parse(&text).map_err(|because| format!("'{shown}' is not understood: {because}"))
}

fn parse(text: &str) -> Result<Configuration, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text.get(..span.start)
                .unwrap_or_default()
                .matches('\n')
                .count()
                + 1
        });
        format!("line {line}: {}", error.message())
    })?;
    let ports = file
        .acs
        .ports
        .map(|ports| {
            let parse = |port: &String| {
                port.parse::<PciAddress>()
                    .map_err(|error| format!("[acs] ports: '{}': {error}", port.escape_debug()))
            };
            ports.iter().map(parse).collect::<Result<Vec<_>, _>>()
        })
        .transpose()?;
    let at_boot = file
        .acs
        .at_boot
        .then(|| ports.map_or(AtBoot::Gpus, AtBoot::Ports));
    Ok(Configuration { at_boot })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_boot(text: &str) -> Result<Option<AtBoot>, String> {
        parse(text).map(|configuration| configuration.at_boot)
    }

    #[test]
    fn nothing_is_done_unless_it_is_asked_for() {
        assert_eq!(at_boot(""), Ok(None));
        assert_eq!(at_boot("[acs]\nports = ['00:04.0']"), Ok(None));
        assert_eq!(at_boot("[acs]\nat_boot = true"), Ok(Some(AtBoot::Gpus)));
        let ports = AtBoot::Ports(vec!["0000:00:04.0".parse().unwrap()]);
        assert_eq!(
            at_boot("[acs]\nat_boot = true\nports = ['00:04.0']"),
            Ok(Some(ports))
        );
    }

    #[test]
    fn the_example_that_is_installed_is_understood_with_all_of_its_settings() {
        let text = include_str!("../../docs/examples/vfioctl.toml");
        assert_eq!(at_boot(text), Ok(None));
        let lines = text.lines().filter(|line| !line.starts_with("# "));
        let settings: Vec<&str> = lines.map(|line| line.trim_start_matches('#')).collect();
        let settings = settings.join("\n");
        assert_eq!(at_boot(&settings), Ok(None));
        let ports = AtBoot::Ports(vec!["0000:00:04.0".parse().unwrap()]);
        let settings = settings.replace("at_boot = false", "at_boot = true");
        assert_eq!(at_boot(&settings), Ok(Some(ports)));
    }

    #[test]
    fn tables_of_other_programs_are_left_to_them() {
        let text = "[host]\nlisten = '[::]:8443'\n[[runner.gpu]]\nx = {y = 1}\n\
                    [acs]\nat_boot = true\noverride = true\n";
        assert_eq!(at_boot(text), Ok(Some(AtBoot::Gpus)));
        assert_eq!(at_boot("[acs]\noverride = false"), Ok(None));
        assert!(at_boot("host = 5").is_err(), "it is a table");
        assert!(at_boot("[runer]\nhost = 'x'").is_err());
        assert!(at_boot("[acs]\noverride = 'yes'").is_err());
        assert!(at_boot("[runner\n").is_err());
    }

    #[test]
    fn what_is_misspelt_is_named_with_its_line() {
        let error = at_boot("[acs]\nat_bot = true").unwrap_err();
        assert!(
            error.starts_with("line 2:") && error.contains("at_bot"),
            "{error}"
        );
        let error = at_boot("[acs]\nat_boot = true\nports = ['04']").unwrap_err();
        assert!(error.contains("'04'"), "{error}");
        assert!(at_boot("[asc]").is_err());
    }
}
