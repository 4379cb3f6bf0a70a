//! The audit log: who changed what, and what came of it. One line of JSON each.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use vfioctl_api::AuditLine;

use crate::limits::MAX_AUDIT_BYTES;

/// Bytes that are looked at for the last lines: a thousand of 300 bytes fit.
const TAIL: u64 = 512 << 10;

/// The audit log of a host.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    file: Mutex<File>,
}

impl Audit {
    /// Opens the log, and makes it where there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(append(path)?),
        })
    }

    /// Writes a line. One that cannot be written is told in the host's own log, and does not keep the
    /// change from having happened.
    pub(crate) fn write(&self, line: &AuditLine) {
        let written = serde_json::to_string(line)
            .map_err(io::Error::other)
            .and_then(|text| {
                let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
                if file.metadata()?.len() > MAX_AUDIT_BYTES {
                    std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
                    *file = append(&self.path)?;
                }
                file.write_all(format!("{text}\n").as_bytes())
            });
        if let Err(error) = written {
            crate::log::error(&format!(
                "the audit log cannot be written ({error}): {} {}",
                line.who, line.verb
            ));
        }
    }

    /// The last lines, the latest last.
    pub(crate) fn read(&self, limit: usize) -> io::Result<Vec<AuditLine>> {
        let mut file = File::open(&self.path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<AuditLine> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Ok(lines.split_off(lines.len().saturating_sub(limit)))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(&folder.path().join("audit.log")).unwrap();
        let line = |at| AuditLine {
            at,
            who: "a\nb".into(),
            from: "-".into(),
            verb: "POST /v1/tasks".into(),
            object: None,
            outcome: "done".into(),
        };
        for at in 0..10 {
            audit.write(&line(at));
        }
        let times: Vec<u64> = audit.read(3).unwrap().iter().map(|line| line.at).collect();
        assert_eq!(times, [7, 8, 9]);
    }
}
