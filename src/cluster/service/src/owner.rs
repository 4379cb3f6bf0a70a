//! The user that a service runs as, for what an administrator does by hand.
//!
//! `vfioctl-host init`, typed by root, would leave files that the service cannot read. So it is done as
//! the owner of the folder that the files are in.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Of util-linux, which every Debian has.
const SETPRIV: &str = "setpriv";

/// Why a program does not go on as another user.
#[derive(Debug)]
pub struct BecomeError {
    folder: PathBuf,
    because: io::Error,
}

impl fmt::Display for BecomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot go on as the owner of '{}' with '{SETPRIV}': {}",
            self.folder.display(),
            self.because
        )
    }
}

impl std::error::Error for BecomeError {}

/// Where root works in a folder of somebody else, starts this program anew as its owner, with nobody's
/// groups but theirs, with these arguments and this as its standard input: what the owner may not open is
/// opened by root before. Does nothing where the folder is root's or missing, or another user asks.
///
/// # Errors
/// Where that cannot be done; where it is, this does not return.
pub fn become_owner(
    folder: &Path,
    arguments: &[OsString],
    input: Option<File>,
) -> Result<(), BecomeError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let Ok(metadata) = std::fs::metadata(folder) else {
        return Ok(());
    };
    if metadata.uid() == 0 {
        return Ok(());
    }
    let failed = |because| BecomeError {
        folder: folder.to_owned(),
        because,
    };
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(SETPRIV);
    command
        .args(switch(metadata.uid(), metadata.gid()))
        .arg(program)
        .args(arguments);
    if let Some(input) = input {
        command.stdin(input);
    }
    Err(failed(command.exec()))
}

fn switch(uid: u32, gid: u32) -> [OsString; 5] {
    [
        format!("--reuid={uid}").into(),
        format!("--regid={gid}").into(),
        "--clear-groups".into(),
        "--no-new-privs".into(),
        "--".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_root_is_taken_along() {
        let words = switch(101, 102).map(|word| word.into_string().unwrap());
        assert_eq!(words.get(..2).unwrap(), ["--reuid=101", "--regid=102"]);
        assert!(words.contains(&"--clear-groups".to_owned()));
    }

    #[test]
    fn a_folder_that_is_missing_or_ones_own_changes_nobody() {
        become_owner(Path::new("/nonexistent/vfioctl"), &[], None).unwrap();
        become_owner(Path::new("/"), &[], None).unwrap();
    }
}
