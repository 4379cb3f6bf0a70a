//! Where Debian's packages come from: this machine's own sources, whatever mirror they name.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::program::Program;

pub(super) const APT_GET: Program = Program::of("apt-get", "apt");
pub(super) const APT_CONFIG: Program = Program::of("apt-config", "apt");

/// By whose keys packages are believed.
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How `apt-get indextargets` is asked; words are read back by [`parse`].
const FORMAT: &str = "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)";

/// A release of Debian that images can be made of; one is here when it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Suite {
    /// Debian 12.
    #[default]
    Bookworm,
}

/// One line of sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    uri: String,
    suite: String,
    component: String,
}

impl Suite {
    /// Debian's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
        }
    }

    /// What people call it.
    pub fn distribution(self) -> &'static str {
        match self {
            Self::Bookworm => "Debian 12",
        }
    }
}

impl Source {
    /// Whether it may stand in an image: not where the address has a password in it.
    fn is_public(&self) -> bool {
        !self.uri.contains('@')
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            uri,
            suite,
            component,
        } = self;
        write!(f, "deb [signed-by={KEYRING}] {uri} {suite} {component}")
    }
}

/// Reads this machine's sources of a release.
///
/// # Errors
/// Where it has none.
pub(super) fn read_sources(suite: Suite) -> Result<Vec<Source>, Error> {
    let call = APT_GET
        .call()
        .arguments(["indextargets", "--format", FORMAT]);
    let sources = parse(&call.argument("Created-By: Packages").run()?, suite);
    match sources.is_empty() {
        false => Ok(sources),
        true => {
            let what = format!(
                "this machine's apt knows no source of Debian '{}'",
                suite.name()
            );
            let hint = "run 'sudo apt update'; on another system than Debian, import an image";
            Err(Error::new(ErrorKind::NotHere, what).with_hint(hint))
        }
    }
}

fn parse(text: &str, suite: Suite) -> Vec<Source> {
    let is_suite = |word: &str| {
        let end = word.strip_prefix(suite.name());
        matches!(end, Some("" | "-updates" | "-security"))
    };
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (origin, uri) = (words.next()?, words.next()?);
        let (suite, component) = (words.next()?, words.next()?);
        (origin == "Debian" && is_suite(suite) && words.next().is_none()).then(|| Source {
            uri: uri.to_owned(),
            suite: suite.to_owned(),
            component: component.to_owned(),
        })
    });
    let mut sources: Vec<Source> = Vec::new();
    for source in lines {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources
}

/// Lines of sources, one for each.
pub(super) fn lines(sources: &[Source]) -> String {
    sources.iter().map(|source| format!("{source}\n")).collect()
}

/// The lines that stay in the image.
pub(super) fn public_lines(sources: &[Source]) -> String {
    let public = sources.iter().filter(|source| source.is_public());
    public.map(|source| format!("{source}\n")).collect()
}

/// What apt is to be told beside the sources: a proxy that is set in this machine's configuration,
/// which mmdebstrap's own apt does not see, and to leave out what the image has no use for.
///
/// # Errors
/// Where apt cannot say, or a proxy cannot be written down.
pub(super) fn read_options() -> Result<String, Error> {
    let mut text = "APT::Install-Recommends \"false\";\nAcquire::Languages \"none\";\n".to_owned();
    for scheme in ["http", "https"] {
        let key = format!("Acquire::{scheme}::Proxy");
        let call = APT_CONFIG.call().arguments(["dump", "--format", "%v%n"]);
        let proxy = call.argument(&key).run()?;
        match proxy.trim() {
            "" => {}
            proxy if proxy.contains(['"', ';', '\n']) => {
                let what = format!("the proxy in apt's configuration ({key}) cannot be used");
                return Err(
                    Error::new(ErrorKind::NotHere, what).with_hint("look at 'apt-config dump'")
                );
            }
            proxy => text.push_str(&format!("{key} \"{proxy}\";\n")),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_release_of_debian_is_taken_and_each_line_once() {
        let text = "Debian http://mirror/debian bookworm main\n\
                    Debian http://mirror/debian bookworm main\n\
                    Debian http://user:word@mirror/security bookworm-security main\n\
                    Debian http://mirror/debian bookworm-backports main\n\
                    Debian http://mirror/debian trixie main\n\
                    Other http://other/ bookworm main\n\
                    Debian cdrom://[Debian 12 _Bookworm_]/ bookworm main\n\n";
        let sources = parse(text, Suite::Bookworm);
        let first = format!("deb [signed-by={KEYRING}] http://mirror/debian bookworm main\n");
        assert_eq!(
            lines(&sources),
            format!(
                "{first}deb [signed-by={KEYRING}] http://user:word@mirror/security \
                 bookworm-security main\n"
            )
        );
        assert_eq!(public_lines(&sources), first);
    }
}
