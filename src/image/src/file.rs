//! Files that appear whole or not at all, and who may read them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, FileType, OFlags, RenameFlags, SeekFrom};

use crate::error::{Error, ErrorKind};
use crate::limits::COPY_BYTES;

/// Who may read or write a file beside its owner; never everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// The group; `None` leaves the one that the file got.
    pub(crate) group: Option<u32>,
    pub(crate) mode: u32,
}

impl Access {
    /// Sets it on an open file, and makes sure that the file is on the disk.
    pub(crate) fn give(self, file: &File) -> io::Result<()> {
        // The group first: the mode must never hold for the wrong one.
        if let Some(group) = self.group {
            std::os::unix::fs::fchown(file, None, Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(self.mode))?;
        file.sync_all()
    }
}

/// Opens a file for reading that must be a regular one: reading a device or a pipe could take for
/// ever, or do something.
///
/// # Errors
/// Where it cannot be opened, or is no file.
pub(crate) fn open_regular(path: &Path) -> Result<File, Error> {
    let at = |error| Error::file(format!("cannot read '{}'", path.display()), error);
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(at)?;
    match file.metadata().map_err(at)?.is_file() {
        true => Ok(file),
        false => Err(at(io::Error::other("it is no regular file"))),
    }
}

/// The first bytes of a file, so many or fewer.
pub(crate) fn read_head(file: &File, most: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.take(u64::try_from(most).unwrap_or(u64::MAX))
        .read_to_end(&mut head)?;
    Ok(head)
}

/// Writes a file whole: nobody sees half of it, and an older one stays until it is there.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], access: Access) -> Result<(), Error> {
    let at = |error: io::Error| Error::file(format!("cannot write '{}'", path.display()), error);
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(".vfioctl-")
        .tempfile_in(folder)
        .map_err(at)?;
    file.write_all(bytes)
        .and_then(|()| access.give(file.as_file()))
        .map_err(at)?;
    file.persist(path).map_err(|error| at(error.error))?;
    sync_folder(folder).map_err(at)
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes sure that what was renamed in a folder stays renamed after a crash.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Moves a file to a place where nothing is yet.
///
/// # Errors
/// [`ErrorKind::Exists`] where something is, or why it cannot be moved.
pub(crate) fn move_new(from: &Path, to: &Path) -> Result<(), Error> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => {
            let what = format!("there is a '{}' already", to.display());
            return Err(Error::new(ErrorKind::Exists, what));
        }
        Err(errno) => {
            let what = format!("cannot move a file to '{}'", to.display());
            return Err(Error::file(what, errno));
        }
    }
    let what = || format!("cannot write the folder of '{}'", to.display());
    sync_folder(folder_of(to)).map_err(|error| Error::file(what(), error))
}

/// Copies a file to a new one: by sharing its blocks where the file system can, else without
/// filling its holes.
pub(crate) fn copy_sparse(from: &File, to: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let copy = options.write(true).create_new(true).mode(0o600).open(to)?;
    if rustix::fs::ioctl_ficlone(&copy, from).is_ok() {
        return Ok(());
    }
    let length = from.metadata()?.len();
    copy.set_len(length)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut position = 0;
    while position < length {
        let start = match rustix::fs::seek(from, SeekFrom::Data(position)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(rustix::io::Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?.min(length);
        position = copy_range(from, &copy, start, end, &mut buffer)?;
    }
    Ok(())
}

/// Copies the bytes of a range, and returns where it ends.
fn copy_range(from: &File, to: &File, start: u64, end: u64, buffer: &mut [u8]) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let mut position = start;
    while position < end {
        let most = usize::try_from(end - position).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let chunk = buffer.get_mut(..most).unwrap_or_default();
        let count = from.read_at(chunk, position)?;
        if count == 0 {
            // It was cut short while it was copied; what is missing stays a hole.
            return Ok(u64::MAX);
        }
        let read = chunk.get(..count).unwrap_or_default();
        to.write_all_at(read, position)?;
        position = position.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok(position)
}

/// Whether a path leads to a folder itself, and not by a link.
pub(crate) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| {
        FileType::from_raw_mode(found.permissions().mode()) == FileType::Directory
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let file = File::create_new(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"start", 0).unwrap();
        file.write_all_at(&[7; 3 << 20], 20 << 20).unwrap();
        file.sync_all().unwrap();
        copy_sparse(&File::open(&from).unwrap(), &to).unwrap();
        assert!(fs::read(&to).unwrap() == fs::read(&from).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() * 512 < 8 << 20);
        let error = copy_sparse(&file, &to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_is_written_whole_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let access = Access {
            group: None,
            mode: 0o640,
        };
        for text in ["one, longer", "two"] {
            write_whole(&path, text.as_bytes(), access).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_whole(&folder.path().join("none/a"), b"", access).is_err());
    }

    #[test]
    fn nothing_is_moved_over_something() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(move_new(&from, &to).unwrap_err().kind(), ErrorKind::Exists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
    }

    #[test]
    fn devices_and_folders_are_no_files() {
        for path in ["/dev/null", "/"] {
            let error = open_regular(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::File, "{path}");
        }
    }
}
