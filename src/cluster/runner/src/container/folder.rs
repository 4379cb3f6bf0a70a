//! The folder of a task: its logs, its host key, and a note of how far its container has come.
//!
//! The folder is made before the engine is asked for anything, and goes when nothing of the task is left.
//! So where there is none, there is nothing to undo.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vfioctl_api::{Exit, LogStream, TaskId};

/// Longest note that is read back.
const MAX_BYTES: u64 = 64 << 10;

/// The folder of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskFolder(PathBuf);

/// How far a container has come, as far as the engine does not know it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// The run that this is about.
    pub(super) run: u32,
    /// When the container was started last before this run, in the engine's words; a server's container
    /// serves many runs.
    #[serde(default)]
    pub(super) started_before: Option<String>,
    /// How the run ended; written before the container goes, which would tell.
    #[serde(default)]
    pub(super) exit: Option<Exit>,
    /// Whether the run is over and nothing more will be written to its logs.
    #[serde(default)]
    pub(super) is_settled: bool,
    /// The port that it is reached at by SSH.
    #[serde(default)]
    pub(super) ssh_port: Option<u16>,
}

impl TaskFolder {
    /// The folder of a task among those of all.
    pub(super) fn of(all: &Path, task: &TaskId) -> Self {
        Self(all.join(task.as_str()))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn log(&self, stream: LogStream) -> PathBuf {
        self.path(match stream {
            LogStream::Stdout => "stdout.log",
            LogStream::Stderr => "stderr.log",
        })
    }

    /// Makes it where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn make(&self) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
    }

    /// Whether it is there.
    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Removes it with everything in it.
    ///
    /// # Errors
    /// Where something is left.
    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The note about its container; none where there is none.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub(super) fn note(&self) -> io::Result<Option<Note>> {
        read_json(&self.path("container.json"))
    }

    /// Writes the note; it is on disk when this returns.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn write_note(&self, note: &Note) -> io::Result<()> {
        write_json(&self.path("container.json"), note, true)
    }
}

/// Reads a small file of JSON; none where there is none.
///
/// # Errors
/// Where it is there and cannot be read.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Writes a small file of JSON, whole or not at all, and onto the disk where that matters.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T, is_synced: bool) -> io::Result<()> {
    write_whole(path, &serde_json::to_vec(value)?, is_synced)
}

/// Writes a file that only this user may read, whole or not at all.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn write_whole(path: &Path, bytes: &[u8], is_synced: bool) -> io::Result<()> {
    let part = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(bytes)?;
        if is_synced {
            file.sync_all()?;
        }
        std::fs::rename(&part, path)
    };
    write().inspect_err(|_| {
        // Half a file is worth nothing, and the disk may be full.
        let _ = std::fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let data = tempfile::tempdir().unwrap();
        let folder = TaskFolder::of(data.path(), &TaskId::new(1, 1));
        assert!(!folder.exists());
        assert_eq!(folder.note().unwrap(), None);
        folder.make().unwrap();
        folder.make().unwrap();
        let exit = Some(Exit {
            status: 3,
            out_of_memory: false,
        });
        let note = Note {
            run: 2,
            exit,
            ssh_port: Some(42_000),
            ..Note::default()
        };
        folder.write_note(&note).unwrap();
        assert_eq!(folder.note().unwrap(), Some(note));
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert!(!folder.exists());
    }
}
