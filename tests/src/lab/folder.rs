//! Where one machine's sockets and logs are.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use super::error::{Result, Wrap};

/// A temporary folder that stays when there is something to look at.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: Mutex<TempDir>,
    path: std::path::PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Result<Folder> {
        let folder = tempfile::Builder::new()
            .prefix("vfioctl-lab-")
            .tempdir()
            .wrap("create a temporary folder")?;
        let path = folder.path().to_owned();
        Ok(Folder {
            folder: Mutex::new(folder),
            path,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a boot is given besides the image.
    pub(crate) fn boot_tree(&self) -> std::path::PathBuf {
        self.path.join("tree")
    }

    pub(crate) fn keep(&self) {
        self.folder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .disable_cleanup(true);
    }
}
