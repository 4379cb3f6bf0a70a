//! QEMU's version: what it says when it is asked, until its program is another one.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use tokio::process::Command;

use crate::limits::VERSION_TIME;

/// QEMU's version.
#[derive(Debug)]
pub(super) struct QemuVersion {
    program: PathBuf,
    last: Mutex<Option<(Stamp, String)>>,
}

/// Tells one program from another in its place.
type Stamp = (u64, i64, u64);

impl QemuVersion {
    /// That of a program.
    pub(super) fn of(program: PathBuf) -> Self {
        Self {
            program,
            last: Mutex::default(),
        }
    }

    /// The version now.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub(super) async fn look(&self) -> Result<String, String> {
        let shown = self.program.display();
        let Ok(found) = std::fs::metadata(&self.program) else {
            return Err(format!(
                "QEMU is not installed: there is no '{shown}' (Debian's package 'qemu-system-x86')"
            ));
        };
        let stamp = (found.ino(), found.mtime(), found.len());
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((_, version)) = last.filter(|(seen, _)| *seen == stamp) {
            return Ok(version);
        }
        let asked = Command::new(&self.program)
            .arg("--version")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let answer = match tokio::time::timeout(VERSION_TIME, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(format!("'{shown}' does not run: {error}")),
            Err(_) => {
                let limit = VERSION_TIME.as_secs();
                return Err(format!(
                    "'{shown}' has not told its version within {limit} s"
                ));
            }
        };
        let text = String::from_utf8_lossy(&answer.stdout);
        let version = parse_version(&text)
            .ok_or_else(|| format!("'{shown}' does not tell its version"))?
            .to_owned();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((stamp, version.clone()));
        Ok(version)
    }
}

/// `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
fn parse_version(text: &str) -> Option<&str> {
    let mut words = text.lines().next()?.split_whitespace();
    words.find(|word| *word == "version")?;
    words.next()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_program_is_asked_again_when_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("qemu");
        let version = QemuVersion::of(program.clone());
        assert!(version.look().await.is_err());
        let write = |says: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{says}\n")).unwrap();
            let all = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&program, all).unwrap();
        };
        write("echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)'");
        assert_eq!(version.look().await.as_deref(), Ok("7.2.22"));
        write("echo 'QEMU emulator version 11.0.0'; echo more");
        assert_eq!(version.look().await.as_deref(), Ok("11.0.0"));
        write("echo what");
        assert!(version.look().await.is_err());
    }
}
