//! Access to a cluster: which host is asked, whom to trust there, and what shows who asks.
//!
//! Each of the three comes from the command line or the environment, or else from a file: the one
//! of `vfioctl login`, or the one of a `vfioctl-host dev` that runs for this user. A token from a
//! file is shown to no other host than the one it stands with.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::authority::Authority;
use super::cluster_file::{ClusterFile, read_text};
use super::host_url::HostUrl;
use super::places::Places;
use crate::command_line::ClusterArgs;
use crate::failure::Failure;
use crate::limits;

/// Access to a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The host that is asked.
    pub(crate) host: HostUrl,
    /// Whom to trust.
    pub(crate) authority: Authority,
    /// What shows who asks.
    pub(crate) token: Token,
    /// The file that the host is from; none: it was named.
    pub(crate) file: Option<PathBuf>,
}

/// What is said about a cluster on the command line and in the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// The host.
    pub(crate) host: Option<HostUrl>,
    /// The file with the authority's certificate.
    pub(crate) authority: Option<PathBuf>,
    /// The file with all three.
    pub(crate) cluster: Option<PathBuf>,
    /// The token.
    pub(crate) token: Option<Token>,
}

/// A token, which shows who asks. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

/// The text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidToken;

impl Named {
    /// What is said on the command line, and the token of the environment.
    ///
    /// # Errors
    /// Where that is no token.
    pub(crate) fn of(cluster: ClusterArgs, token: Option<OsString>) -> Result<Self, Failure> {
        let token = token.filter(|token| !token.is_empty()).map(|token| {
            let parsed = token.to_str().ok_or(InvalidToken).and_then(str::parse);
            parsed.map_err(|error| Failure::usage(format!("VFIOCTL_TOKEN is no token: {error}")))
        });
        Ok(Self {
            host: cluster.host,
            authority: cluster.authority,
            cluster: cluster.cluster,
            token: token.transpose()?,
        })
    }
}

impl Token {
    /// The token itself.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

/// One word of signs that a header of HTTP can carry.
impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let is_token = (1..=limits::TOKEN_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        match is_token {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidToken),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token is one word, as 'vfioctl user token' prints it")
    }
}

impl std::error::Error for InvalidToken {}

/// Finds out which cluster is meant.
///
/// # Errors
/// Where none is, a part is missing, or a file is not as safe as it must be.
pub(crate) fn find_access(named: &Named, places: &Places) -> Result<Access, Failure> {
    let found = find_file(named, places)?;
    let host = match (&named.host, &found) {
        (Some(host), _) => host.clone(),
        (None, Some((_, file))) => file.host.clone(),
        (None, None) => return Err(no_cluster()),
    };
    let (path, file) = found.unzip();
    let missing = |what: &str, name: &str| {
        Failure::could_not("NoCluster", format!("no {what} is known for {host}"))
            .hint(format!("log in with 'vfioctl login {host}', or set {name}"))
    };
    let authority = match (&named.authority, &file) {
        (Some(path), _) => read_authority(path)?,
        (None, Some(file)) => file.authority.clone(),
        (None, None) => return Err(missing("authority", "VFIOCTL_AUTHORITY")),
    };
    let token = named.token.clone().or(file.map(|file| file.token));
    let token = token.ok_or_else(|| missing("token", "VFIOCTL_TOKEN"))?;
    Ok(Access {
        host,
        authority,
        token,
        file: path.filter(|_| named.host.is_none()),
    })
}

/// The file that speaks of the host that is named; where none is, the first that is there.
fn find_file(named: &Named, places: &Places) -> Result<Option<(PathBuf, ClusterFile)>, Failure> {
    let is_meant = |file: &ClusterFile| named.host.as_ref().is_none_or(|host| *host == file.host);
    if let Some(path) = &named.cluster {
        let file = ClusterFile::read(path)?.ok_or_else(|| {
            Failure::could_not(
                "NoCluster",
                format!("there is no file '{}'", path.display()),
            )
            .hint("make it with 'vfioctl login URL --cluster FILE'")
        })?;
        return match is_meant(&file) {
            true => Ok(Some((path.clone(), file))),
            false => Err(Failure::usage(format!(
                "'{}' is about {}, and another host is named",
                path.display(),
                file.host
            ))
            .hint("name the host or the file")),
        };
    }
    for path in places.cluster_files() {
        if let Some(file) = ClusterFile::read(&path)?.filter(is_meant) {
            return Ok(Some((path, file)));
        }
    }
    Ok(None)
}

/// Reads the certificate of an authority from a file that somebody named.
///
/// # Errors
/// Where it cannot be read, or is none.
pub(crate) fn read_authority(path: &Path) -> Result<Authority, Failure> {
    let cannot = |because: String| {
        let what = format!(
            "cannot read the authority's certificate '{}'",
            path.display()
        );
        Failure::could_not("CannotRead", what)
            .because(because)
            .hint("name the file 'authority.pem' that 'vfioctl-host init' made")
    };
    let text = read_text(path, limits::CLUSTER_FILE).map_err(|error| cannot(error.to_string()))?;
    text.parse()
        .map_err(|error: super::NoCertificate| cannot(error.to_string()))
}

fn no_cluster() -> Failure {
    Failure::could_not("NoCluster", "no cluster is known")
        .hint("log in with 'vfioctl login URL', or try one on this machine: 'vfioctl-host dev'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_host::authority_pem;

    struct Home {
        folder: tempfile::TempDir,
        places: Places,
    }

    fn home() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        Home { folder, places }
    }

    fn write(path: &Path, host: &str, token: &str) {
        let file = ClusterFile {
            host: host.parse().unwrap(),
            authority: authority_pem().parse().unwrap(),
            token: token.parse().unwrap(),
        };
        file.write(path).unwrap();
    }

    fn found(named: &Named, places: &Places) -> (String, String, bool) {
        let access = find_access(named, places).unwrap();
        (
            access.host.to_string(),
            access.token.secret().to_owned(),
            access.file.is_some(),
        )
    }

    #[test]
    fn a_login_comes_before_a_host_that_is_tried() {
        let Home {
            folder: _folder,
            places,
        } = home();
        assert_eq!(
            find_access(&Named::default(), &places).unwrap_err().name(),
            "NoCluster"
        );
        write(&places.dev_file().unwrap(), "localhost:1", "dev");
        assert_eq!(
            found(&Named::default(), &places),
            ("https://localhost:1".into(), "dev".into(), true)
        );
        write(&places.login_file().unwrap(), "gpu-host", "mine");
        assert_eq!(
            found(&Named::default(), &places),
            ("https://gpu-host:8470".into(), "mine".into(), true)
        );
        let named = Named {
            host: "localhost:1".parse().ok(),
            ..Named::default()
        };
        assert_eq!(
            found(&named, &places),
            ("https://localhost:1".into(), "dev".into(), false)
        );
    }

    #[test]
    fn a_token_is_shown_to_no_other_host() {
        let Home { folder, places } = home();
        write(&places.login_file().unwrap(), "gpu-host", "mine");
        let mut named = Named {
            host: "evil".parse().ok(),
            ..Named::default()
        };
        assert_eq!(
            find_access(&named, &places).unwrap_err().name(),
            "NoCluster"
        );
        named.authority = Some(folder.path().join("authority.pem"));
        std::fs::write(folder.path().join("authority.pem"), authority_pem()).unwrap();
        let failure = find_access(&named, &places).unwrap_err();
        assert!(
            failure
                .text()
                .starts_with("vfioctl: no token is known for https://evil:8470\n")
        );
        named.token = "other".parse().ok();
        assert_eq!(found(&named, &places).1, "other");
        named.cluster = places.login_file();
        assert_eq!(find_access(&named, &places).unwrap_err().name(), "Usage");
    }

    #[test]
    fn a_token_is_one_word_and_is_not_printed() {
        for text in ["", "a b", "a\n", "ä", &"x".repeat(limits::TOKEN_BYTES + 1)] {
            assert!(text.parse::<Token>().is_err(), "{text:?}");
        }
        let token: Token = "vfioctl_a_b".parse().unwrap();
        assert_eq!(format!("{token:?}"), "Token");
    }
}
