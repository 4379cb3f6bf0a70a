//! The journal as a folder: one file a task, written whole or not at all.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use vfioctl_api::TaskId;

use super::{Journal, JournalError, Saved};
use crate::whole_file;

/// Longest file that is read back: an order with every list full has some 300 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The journal as a folder.
#[derive(Debug, Clone)]
pub struct FolderJournal(PathBuf);

impl FolderJournal {
    /// A journal in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed("make", folder, &error))?;
        Ok(Self(folder.to_owned()))
    }

    fn path(&self, task: &TaskId) -> PathBuf {
        self.0.join(format!("{task}.json"))
    }

    fn write(&self, saved: &Saved) -> Result<(), JournalError> {
        let path = self.path(&saved.order.task);
        let text = serde_json::to_vec(saved).map_err(|error| JournalError(error.to_string()))?;
        whole_file::write(&path, &text, 0o600).map_err(|error| failed("write", &path, &error))
    }

    fn read_all(&self) -> Result<Vec<Saved>, JournalError> {
        let entries =
            std::fs::read_dir(&self.0).map_err(|error| failed("list", &self.0, &error))?;
        let mut all = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|error| failed("list", &self.0, &error))?
                .path();
            if path.extension().is_none_or(|extension| extension != "json") {
                // What a runner that was killed while it wrote has left.
                let _ = std::fs::remove_file(&path);
                continue;
            }
            match read_one(&path) {
                Ok(saved) => all.push(saved),
                Err(error) => crate::log::warning(&format!("{error}, ignoring")),
            }
        }
        Ok(all)
    }
}

fn read_one(path: &Path) -> Result<Saved, JournalError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text))
        .map_err(|error| failed("read", path, &error))?;
    serde_json::from_slice(&text)
        .map_err(|error| JournalError(format!("'{}' is not understood: {error}", path.display())))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> JournalError {
    JournalError(format!("cannot {what} '{}': {error}", path.display()))
}

/// Waits for the disk where nobody else has to.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(JournalError(error.to_string())))
}

#[async_trait]
impl Journal for FolderJournal {
    async fn save(&self, saved: &Saved) -> Result<(), JournalError> {
        let (journal, saved) = (self.clone(), saved.clone());
        off_thread(move || journal.write(&saved)).await
    }

    async fn forget(&self, task: &TaskId) -> Result<(), JournalError> {
        let path = self.path(task);
        off_thread(move || match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path, &error))
            }
            _ => Ok(()),
        })
        .await
    }

    async fn read(&self) -> Result<Vec<Saved>, JournalError> {
        let journal = self.clone();
        off_thread(move || journal.read_all()).await
    }
}
