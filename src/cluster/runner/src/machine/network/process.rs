//! Which process a network is: noted by itself, so that a later runner finds it and ends it.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use vfioctl_scan::{SysRoot, read_boot_id, read_process_stat};

use crate::limits::{POLL_PAUSE, RELAY_END};
use crate::whole_file;

/// Longest note that is read back; one has a hundred bytes.
const MAX_BYTES: u64 = 4096;

/// A process, told from a later one of the same number by when it started, and in which boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessNote {
    pid: u32,
    start_time: u64,
    boot: String,
}

impl ProcessNote {
    /// Notes this process.
    ///
    /// # Errors
    /// Where it cannot be told, as a sentence.
    pub(super) fn of_this(root: &SysRoot) -> Result<Self, String> {
        Self::of(root, std::process::id())?
            .ok_or_else(|| "a process does not see itself".to_owned())
    }

    fn of(root: &SysRoot, pid: u32) -> Result<Option<Self>, String> {
        let stat = read_process_stat(root, pid).map_err(|error| error.to_string())?;
        let boot = read_boot_id(root).map_err(|error| error.to_string())?;
        let alive = stat.filter(|stat| !stat.is_zombie);
        Ok(alive.map(|stat| Self {
            pid,
            start_time: stat.start_time,
            boot: boot.unwrap_or_default(),
        }))
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Where that cannot be, as a sentence.
    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .and_then(|bytes| whole_file::write(path, &bytes, 0o600))
            .map_err(|error| format!("cannot write '{}': {error}", path.display()))
    }

    /// The note in a file; none where there is none, or it is not understood.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Whether it is there.
    pub(super) fn is_alive(&self, root: &SysRoot) -> bool {
        Self::of(root, self.pid).is_ok_and(|now| now.as_ref() == Some(self))
    }

    /// Ends it; it is gone when this returns.
    ///
    /// # Errors
    /// Where it does not end, as a sentence.
    pub(super) fn end(&self, root: &SysRoot) -> Result<(), String> {
        let number = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // First it is held, and then looked at: what is held is not another one by then.
        let held = number.and_then(|number| pidfd_open(number, PidfdFlags::empty()).ok());
        let Some(held) = held.filter(|_| self.is_alive(root)) else {
            return Ok(());
        };
        for signal in [Signal::TERM, Signal::KILL] {
            // It may have ended just now.
            let _ = pidfd_send_signal(&held, signal);
            if self.has_ended_within(root, RELAY_END) {
                return Ok(());
            }
        }
        Err(format!("process {} does not end", self.pid))
    }

    fn has_ended_within(&self, root: &SysRoot, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive(root) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(POLL_PAUSE);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(script: &str) -> Child {
        Command::new("/bin/sh")
            .args(["-c", script])
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_process_is_found_by_its_note_and_ended() {
        let root = SysRoot::live().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.json");
        assert_eq!(ProcessNote::read(&path), None);
        for script in ["exec sleep 60", "trap '' TERM; while :; do sleep 1; done"] {
            let mut child = sleeper(script);
            std::thread::sleep(Duration::from_millis(100));
            let note = ProcessNote::of(&root, child.id()).unwrap().unwrap();
            note.write(&path).unwrap();
            let read = ProcessNote::read(&path).unwrap();
            assert!(read == note && read.is_alive(&root));
            read.end(&root).unwrap();
            assert!(!read.is_alive(&root));
            child.wait().unwrap();
            read.end(&root).unwrap();
        }
    }

    #[test]
    fn another_process_of_that_number_is_left_alone() {
        let root = SysRoot::live().unwrap();
        let mut child = sleeper("exec sleep 60");
        let note = ProcessNote::of(&root, child.id()).unwrap().unwrap();
        let others = [
            ProcessNote {
                start_time: note.start_time + 1,
                ..note.clone()
            },
            ProcessNote {
                boot: "another".into(),
                ..note.clone()
            },
        ];
        for other in others {
            other.end(&root).unwrap();
            assert!(note.is_alive(&root), "{other:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
