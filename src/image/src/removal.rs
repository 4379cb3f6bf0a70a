//! Removing a base image, unless an overlay needs it.
//!
//! No list of overlays is kept that could be wrong after a crash: they are looked for, by their
//! headers, below the folder of machines. Where something there cannot be looked at, an overlay may
//! be hidden in it, and nothing is removed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::{Error, ErrorKind};
use crate::file::{folder_of, open_regular, read_head};
use crate::header::{HEAD_BYTES, backing_name};
use crate::library::Library;
use crate::limits::{MAX_DEPTH, MAX_LOOKED_AT};
use crate::name::ImageName;

impl Library {
    /// Where machines have their overlays unless somebody says otherwise.
    pub const MACHINES_FOLDER: &str = "/var/lib/vfioctl-runner/machines";

    /// Whether an image could be removed; changes nothing.
    ///
    /// # Errors
    /// As for [`Library::remove`].
    pub fn plan_removal(&self, name: &ImageName, machines: &Path) -> Result<Vec<String>, Error> {
        let disk = self.expect_unused(name, machines)?;
        Ok(vec![format!("remove '{}' and its record", disk.display())])
    }

    /// Removes an image.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none, [`ErrorKind::InUse`] where an overlay needs it,
    /// [`ErrorKind::Hidden`] where that cannot be ruled out.
    pub fn remove(&self, name: &ImageName, machines: &Path) -> Result<(), Error> {
        self.expect_there(name)?;
        // Whoever makes an overlay holds it too, so none appears between the look and the removal.
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        self.expect_unused(name, machines)?;
        self.remove_files(name)
    }

    /// A broken image is there too: that it can be removed is what is left to do with it.
    fn expect_there(&self, name: &ImageName) -> Result<PathBuf, Error> {
        match self.find(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
            _ => Ok(self.disk_path(name)),
        }
    }

    fn expect_unused(&self, name: &ImageName, machines: &Path) -> Result<PathBuf, Error> {
        let disk = self.expect_there(name)?;
        let overlays = find_overlays(&disk, machines)?;
        let Some(first) = overlays.first() else {
            return Ok(disk);
        };
        let what = match overlays.len() {
            1 => format!(
                "the disk '{}' is made of the image '{name}'",
                first.display()
            ),
            count => format!(
                "{count} disks are made of the image '{name}', one is '{}'",
                first.display()
            ),
        };
        let hint = "remove their machines first; without the image their disks are lost";
        Err(Error::new(ErrorKind::InUse, what).with_hint(hint))
    }
}

/// The overlays of a disk below a folder.
fn find_overlays(disk: &Path, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let hidden = |path: &Path, error: io::Error| {
        let what = format!(
            "whether the image is in use cannot be seen: '{}': {error}",
            path.display()
        );
        Error::new(ErrorKind::Hidden, what).with_hint("run it with sudo")
    };
    let mut overlays = Vec::new();
    let mut left = vec![(folder.to_owned(), 0)];
    let mut looked_at = 0_usize;
    while let Some((folder, depth)) = left.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // A machine that goes while it is looked at takes its overlay along.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(hidden(&folder, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| hidden(&folder, error))?;
            let path = entry.path();
            looked_at += 1;
            if looked_at > MAX_LOOKED_AT || depth >= MAX_DEPTH {
                return Err(hidden(
                    &path,
                    io::Error::other("there is too much to look at"),
                ));
            }
            let kind = entry.file_type().map_err(|error| hidden(&path, error))?;
            if kind.is_dir() {
                left.push((path, depth + 1));
            } else if kind.is_file() && is_overlay_of(&path, disk)? {
                overlays.push(path);
            }
        }
    }
    overlays.sort();
    Ok(overlays)
}

fn is_overlay_of(path: &Path, disk: &Path) -> Result<bool, Error> {
    let hidden = |because: String| {
        let what = format!(
            "whether the image is in use cannot be seen: '{}': {because}",
            path.display()
        );
        Error::new(ErrorKind::Hidden, what).with_hint("run it with sudo")
    };
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(_) if !path.exists() => return Ok(false),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            return Err(hidden(source.unwrap_or_default()));
        }
    };
    let head = read_head(&file, HEAD_BYTES).map_err(|error| hidden(error.to_string()))?;
    let Some(name) = backing_name(&head).map_err(hidden)? else {
        return Ok(false);
    };
    Ok(is_name_of(&name, folder_of(path), disk))
}

/// Whether a backing file's name means the disk: by any path that leads there, or in one of QEMU's
/// other ways to name a file (`json:`, `file:`), where the path stands in the name.
fn is_name_of(name: &str, folder: &Path, disk: &Path) -> bool {
    let identity = |path: &Path| {
        fs::metadata(path)
            .ok()
            .map(|found| (found.dev(), found.ino()))
    };
    let named = identity(&folder.join(name));
    let is_same = named.is_some() && named == identity(disk);
    let is_mentioned = disk
        .file_name()
        .and_then(|file| file.to_str())
        .is_some_and(|file| name.contains(file) && named.is_none());
    is_same || is_mentioned
}
