//! Overlays: the disks of machines, which hold only what differs from their base image.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::{Error, ErrorKind};
use crate::file::{Access, folder_of, move_new};
use crate::library::{Image, Library};
use crate::program::QEMU_IMG;
use crate::size::DiskSize;
use crate::work::WorkFolder;

/// The disk of a machine, made of a base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Where it is.
    pub path: PathBuf,
    /// The size of the disk in bytes.
    pub disk_bytes: u64,
}

impl Overlay {
    /// Makes an overlay of an image: a qcow2 file that a group may write too, and nobody else may
    /// read. The image's path is written into it, absolute, and its format with it, so that QEMU
    /// never guesses.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where the size is smaller than the image's, [`ErrorKind::Exists`]
    /// where there is a file already, or why it cannot be made.
    pub fn create(
        base: &Image,
        path: &Path,
        size: DiskSize,
        group: Option<u32>,
    ) -> Result<Self, Error> {
        if size.bytes() < base.record.disk_bytes {
            let what = format!(
                "a disk of {size} is smaller than its image '{}', which has {} MiB",
                base.name,
                base.record.disk_bytes.div_ceil(1 << 20)
            );
            return Err(Error::new(ErrorKind::Refused, what).with_hint("ask for a larger disk"));
        }
        let folder = folder_of(path);
        let at = |error| Error::file(format!("cannot make the disk '{}'", path.display()), error);
        let library = Library::at(folder_of(&base.path), None);
        let _lock = library.lock(FlockOperation::NonBlockingLockShared)?;
        // It may have gone since it was found, and another one may be in its place.
        let found = library.find(&base.name)?;
        if found.record != base.record {
            let what = format!("the image '{}' is another one by now", base.name);
            return Err(Error::new(ErrorKind::Broken, what).with_hint("look at it again"));
        }
        let backing = fs::canonicalize(&found.path).map_err(at)?;
        let work = WorkFolder::make(folder)?;
        let made = work.join("disk");
        QEMU_IMG
            .call()
            .arguments(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .argument(backing)
            .argument(&made)
            .argument(size.bytes().to_string())
            .run()?;
        let access = Access { group, mode: 0o660 };
        File::open(&made)
            .and_then(|file| access.give(&file))
            .map_err(at)?;
        move_new(&made, path)?;
        Ok(Self {
            path: path.to_owned(),
            disk_bytes: size.bytes(),
        })
    }
}
