//! `/etc/vfioctl/vfioctl.toml`, the table `[host]`.
//!
//! The file is one for all programs of vfioctl, and each looks at its own table. An unknown key is an
//! error: a word that is misspelt would otherwise be taken for one that is not there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vfioctl_service::configuration::{self, ConfigurationError};

/// Where a host keeps its files, unless told otherwise.
pub(crate) const DATA: &str = "/var/lib/vfioctl-host";

/// The file, as far as it concerns a host.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    host: Configuration,
    /// These are looked at by their own programs.
    #[serde(default)]
    #[expect(dead_code, reason = "known, and not looked at here")]
    acs: Option<toml::Table>,
    #[serde(default)]
    #[expect(dead_code, reason = "known, and not looked at here")]
    runner: Option<toml::Table>,
}

/// The table `[host]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Configuration {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// How nodes reach it: `https://host.example:8470`.
    pub(crate) address: Option<String>,
    /// Where its files lie.
    pub(crate) data: PathBuf,
    /// What the cluster is kept in.
    pub(crate) store: StoreKind,
    /// Where etcd answers: `https://192.0.2.1:2379`.
    pub(crate) etcd: Etcd,
    /// A certificate that was given, with what signed it, in PEM; with `key`.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key.
    pub(crate) key: Option<PathBuf>,
    /// Threads that answer; as many as there are processors where nothing is said.
    pub(crate) threads: Option<usize>,
}

/// What a cluster is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// One file of this host's.
    #[default]
    Embedded,
    /// etcd, for several hosts at once.
    Etcd,
}

/// Where etcd is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Etcd {
    /// Where it answers.
    pub(crate) endpoints: Vec<String>,
    /// The certificate that signed its own.
    pub(crate) authority: Option<PathBuf>,
    /// This host's certificate for it; with `key`.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key.
    pub(crate) key: Option<PathBuf>,
    /// The user, with the password in a file of its own.
    pub(crate) user: Option<String>,
    /// That file.
    pub(crate) password_file: Option<PathBuf>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], vfioctl_api::DEFAULT_PORT)),
            address: None,
            data: PathBuf::from(DATA),
            store: StoreKind::Embedded,
            etcd: Etcd::default(),
            certificate: None,
            key: None,
            threads: None,
        }
    }
}

impl Configuration {
    /// Reads the file; where there is none, everything is as it is by itself.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigurationError> {
        configuration::read(path, Self::parse)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = configuration::parse(text)?;
        file.host.check()
    }

    fn check(self) -> Result<Self, String> {
        if self.store == StoreKind::Etcd && self.etcd.endpoints.is_empty() {
            return Err("[host] store = \"etcd\" needs [host.etcd] endpoints".into());
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("[host] certificate and key go together".into());
        }
        if self.etcd.certificate.is_some() != self.etcd.key.is_some() {
            return Err("[host.etcd] certificate and key go together".into());
        }
        if self.etcd.user.is_some() != self.etcd.password_file.is_some() {
            return Err("[host.etcd] user and password_file go together".into());
        }
        if let Some(address) = self
            .address
            .as_ref()
            .filter(|address| !address.starts_with("https://"))
        {
            return Err(format!(
                "[host] address '{}' does not begin with 'https://'",
                address.escape_debug()
            ));
        }
        if self.threads == Some(0) {
            return Err("[host] threads = 0 would answer nobody".into());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_it_is_what_most_want() {
        let configuration =
            Configuration::parse("[acs]\nat_boot = true\n[runner]\nnode = 'a'").unwrap();
        assert_eq!(configuration, Configuration::default());
        assert_eq!(configuration.listen.port(), 8470);
    }

    /// The example that is installed, and the same with all of its settings switched on.
    fn example() -> [String; 2] {
        let text = include_str!("../../../../docs/examples/vfioctl.toml");
        let lines = text.lines().filter(|line| !line.starts_with("# "));
        let settings: Vec<&str> = lines.map(|line| line.trim_start_matches('#')).collect();
        [text.to_owned(), settings.join("\n")]
    }

    #[test]
    fn the_example_has_every_key_and_says_what_is_by_itself() {
        let [as_it_is, with_all] = example();
        assert_eq!(
            Configuration::parse(&as_it_is),
            Ok(Configuration::default())
        );
        let path = |name: &str| Some(PathBuf::from(format!("/etc/vfioctl/{name}")));
        let Configuration {
            listen,
            data,
            store,
            ..
        } = Configuration::default();
        // All fields by name, so that one that is added is missed here.
        let expected = Configuration {
            listen,
            address: Some("https://host.example:8470".into()),
            data,
            store,
            etcd: Etcd {
                endpoints: [1, 2, 3]
                    .map(|number| format!("https://192.0.2.{number}:2379"))
                    .to_vec(),
                authority: path("etcd-authority.pem"),
                certificate: path("etcd.pem"),
                key: path("etcd.key"),
                user: Some("vfioctl".into()),
                password_file: path("etcd-password"),
            },
            certificate: path("host.pem"),
            key: path("host.key"),
            threads: Some(4),
        };
        assert_eq!(Configuration::parse(&with_all), Ok(expected));
        // A default that is left out would not be missed above.
        for key in ["listen", "data", "store"] {
            let is_there = |line: &str| line.starts_with(&format!("{key} = "));
            assert!(with_all.lines().any(is_there), "{key}");
        }
    }

    #[test]
    fn what_is_misspelt_or_does_not_fit_is_named() {
        let cases = [
            ("[host]\nlisten = 'x'", "line 2: "),
            (
                "[host]\n\nlistn = '0.0.0.0:1'",
                "line 3: unknown field `listn`",
            ),
            ("[hosts]", "line 1: unknown field `hosts`"),
            ("[host]\nstore = 'etcd'", "[host] store = \"etcd\" needs"),
            ("[host]\ncertificate = '/c'", "[host] certificate and key"),
            (
                "[host]\naddress = 'http://a'",
                "[host] address 'http://a' does not begin",
            ),
            (
                "[host.etcd]\nuser = 'a'",
                "[host.etcd] user and password_file",
            ),
        ];
        for (text, begin) in cases {
            let error = Configuration::parse(text).unwrap_err();
            assert!(error.starts_with(begin), "{text}: {error}");
        }
    }
}
