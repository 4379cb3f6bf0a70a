//! The file that speaks of a cluster: its host, its authority, and this user's token, in JSON.
//!
//! Whoever reads it can do what the user can, so one that others can read is refused, and it is
//! written whole or not at all, for nobody else's eyes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::access::Token;
use super::authority::Authority;
use super::host_url::HostUrl;
use crate::failure::Failure;
use crate::limits;

/// What is known of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct ClusterFile {
    /// Where its host answers.
    pub(crate) host: HostUrl,
    /// Whom to trust.
    pub(crate) authority: Authority,
    /// What shows who asks.
    pub(crate) token: Token,
}

/// The same as it lies in the file.
#[derive(Serialize, Deserialize)]
struct Text {
    host: String,
    authority: String,
    token: String,
}

impl ClusterFile {
    /// Reads it; none where there is none.
    ///
    /// # Errors
    /// Where it cannot be read or understood, or others can read it.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::could_not("CannotRead", format!("cannot read '{}'", path.display()))
                .because(error.to_string())
                .hint("log in again: 'vfioctl login URL'")
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(&error)),
        };
        check_private(&file, path)?;
        let text = read_open(file, limits::CLUSTER_FILE).map_err(|error| cannot(&error))?;
        let text: Text = serde_json::from_str(&text).map_err(|error| cannot(&error))?;
        Ok(Some(Self {
            host: text
                .host
                .parse()
                .map_err(|error: super::InvalidHostUrl| cannot(&error))?,
            authority: text
                .authority
                .parse()
                .map_err(|error: super::NoCertificate| cannot(&error))?,
            token: text
                .token
                .parse()
                .map_err(|error: super::InvalidToken| cannot(&error))?,
        }))
    }

    /// Writes it, with the folder that it lies in.
    ///
    /// # Errors
    /// Where it cannot be written; the one that was there is there still.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = Text {
            host: self.host.to_string(),
            authority: self.authority.pem().to_owned(),
            token: self.token.secret().to_owned(),
        };
        let written = serde_json::to_string_pretty(&text)
            .map_err(io::Error::other)
            .and_then(|text| write_private(path, &(text + "\n")));
        written.map_err(|error| {
            Failure::could_not("CannotWrite", format!("cannot write '{}'", path.display()))
                .because(error.to_string())
                .hint("make sure that you may write in that folder")
        })
    }

    /// Removes it. False: there is none.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub(crate) fn remove(path: &Path) -> Result<bool, Failure> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::could_not(
                "CannotWrite",
                format!("cannot remove '{}'", path.display()),
            )
            .because(error.to_string())),
        }
    }
}

/// Makes sure that nobody else could have read or written a file: not by its name, which could
/// mean another one by now, but by what was opened.
fn check_private(file: &File, path: &Path) -> Result<(), Failure> {
    let refused = |because: &str, hint: String| {
        let what = format!("'{}' is not used: a token is in it", path.display());
        Err(Failure::could_not("NotPrivate", what)
            .because(because)
            .hint(hint))
    };
    let found = file.metadata().map_err(|error| {
        Failure::could_not("CannotRead", format!("cannot look at '{}'", path.display()))
            .because(error.to_string())
    })?;
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 {
        let because = format!("it belongs to user {} of this machine", found.uid());
        return refused(
            &because,
            "log in as yourself: 'vfioctl login URL'".to_owned(),
        );
    }
    if found.mode() & 0o077 != 0 {
        return refused(
            "others can read it",
            format!("run 'chmod 600 {}'", path.display()),
        );
    }
    Ok(())
}

/// Reads a short text file.
///
/// # Errors
/// Where it cannot be read, is longer, or is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    read_open(File::open(path)?, limit)
}

fn read_open(file: File, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    let bytes = file.take(limit + 1).read_to_string(&mut text)?;
    match u64::try_from(bytes).is_ok_and(|bytes| bytes <= limit) {
        true => Ok(text),
        false => Err(io::Error::other(format!("it is longer than {limit} bytes"))),
    }
}

/// Writes a file for nobody else's eyes, whole or not at all, and makes its folder so too.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        // Left by one who was killed and had this process ID.
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::fake_host::authority_pem;

    fn file() -> ClusterFile {
        ClusterFile {
            host: "gpu-host".parse().unwrap(),
            authority: authority_pem().parse().unwrap(),
            token: "vfioctl_a_b".parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_by_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/cluster.json");
        assert!(ClusterFile::read(&path).unwrap().is_none());
        file().write(&path).unwrap();
        file().write(&path).unwrap();
        let read = ClusterFile::read(&path).unwrap().unwrap();
        assert_eq!((read.host, read.token), (file().host, file().token));
        assert_eq!(read.authority.fingerprint(), file().authority.fingerprint());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(folder.path().join("below")).unwrap().mode() & 0o777,
            0o700
        );
        assert_eq!(
            fs::read_dir(folder.path().join("below")).unwrap().count(),
            1
        );
        assert!(ClusterFile::remove(&path).unwrap());
        assert!(!ClusterFile::remove(&path).unwrap());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        file().write(&path).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let failure = ClusterFile::read(&path).unwrap_err();
            let text = format!(
                "vfioctl: '{0}' is not used: a token is in it\n  because: others can read it\n  \
                 try: run 'chmod 600 {0}'\n",
                path.display()
            );
            assert_eq!(failure.text(), text, "{mode:o}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        let long = " ".repeat(usize::try_from(limits::CLUSTER_FILE).unwrap() + 1);
        for text in [
            "",
            "{}",
            r#"{"host": "http://a", "authority": "x", "token": "t"}"#,
            &long,
        ] {
            write_private(&path, text).unwrap();
            assert_eq!(
                ClusterFile::read(&path).unwrap_err().name(),
                "CannotRead",
                "{}",
                text.len()
            );
        }
    }
}
