//! Files that are written whole or not at all, and keep their mode and owner.
//!
//! A temporary file in the same folder, `fsync(2)`, `rename(2)`, and `fsync` of the folder: after a
//! crash there is the old file or the new one. Its name begins with a point and does not end as
//! configuration does, so nobody reads a half-written one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind as IoKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::error::Error;
use crate::paths;
use crate::read::read_bounded;

/// How names of temporary files end.
pub(crate) const TEMPORARY: &str = ".vfioctl-new";

/// The bytes of a file; `None` where there is none.
///
/// # Errors
/// Where it is there and cannot be read, or is no file.
pub(crate) fn read_file(root: &Path, path: &str) -> Result<Option<Vec<u8>>, Error> {
    match read_bounded(&paths::below(root, path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == IoKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(format!("cannot read '{path}'"), error)),
    }
}

/// Writes a file: one that is there keeps its mode and owner, a new one gets this mode.
///
/// # Errors
/// Where it cannot be written, or a link stands in its place.
pub(crate) fn write_file(root: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let place = paths::below(root, path);
    write_at(
        &place,
        &paths::below(root, &temporary_path(path)),
        bytes,
        mode,
    )
    .map_err(|error| Error::file(format!("cannot write '{path}'"), error))
}

/// Where a file is written before it takes its place; a run that is killed leaves it there.
pub(crate) fn temporary_path(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    format!("{folder}/.{name}{TEMPORARY}")
}

fn write_at(place: &Path, temporary: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let like = match fs::symlink_metadata(place) {
        Ok(like) if like.is_file() => Some(like),
        // A rename would put a file in the place of the link, and leave its target as it was.
        Ok(_) => {
            let what = "it is a link or no file; edit what it leads to by hand";
            return Err(io::Error::new(IoKind::InvalidData, what));
        }
        Err(error) if error.kind() == IoKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let Some(folder) = place.parent() else {
        return Err(IoKind::InvalidInput.into());
    };
    // One that an earlier run left when it was killed.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != IoKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(temporary, bytes, mode, like.as_ref())
        .and_then(|()| fs::rename(temporary, place));
    if let Err(error) = written {
        // The first error is the one that is told.
        let _ = fs::remove_file(temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn write_new(place: &Path, bytes: &[u8], mode: u32, like: Option<&fs::Metadata>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(place)?;
    file.write_all(bytes)?;
    let new = file.metadata()?;
    // The EFI system partition has no owners; there, nothing differs and nothing is set.
    if let Some(like) = like
        && (like.uid(), like.gid()) != (new.uid(), new.gid())
    {
        std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    let mode = like.map_or(mode, |like| like.mode() & 0o7777);
    if mode != new.mode() & 0o7777 {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

/// Removes a file; it is no error where there is none.
///
/// # Errors
/// Where it cannot be removed.
pub(crate) fn remove_file(root: &Path, path: &str) -> Result<(), Error> {
    let place = paths::below(root, path);
    let removed = match fs::remove_file(&place) {
        Ok(()) => match place.parent() {
            Some(folder) => File::open(folder).and_then(|folder| folder.sync_all()),
            None => Ok(()),
        },
        Err(error) if error.kind() == IoKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|error| Error::file(format!("cannot remove '{path}'"), error))
}

/// The folders above a path that are not there, outermost first.
pub(crate) fn missing_folders(root: &Path, path: &str) -> Vec<String> {
    let above = Path::new(path).ancestors().skip(1);
    let above = above.filter_map(|folder| folder.to_str());
    let mut missing: Vec<String> = above
        .take_while(|folder| !paths::below(root, folder).exists())
        .map(str::to_owned)
        .collect();
    missing.reverse();
    missing
}

/// Makes a folder that everybody may read; it is no error where it is there.
///
/// # Errors
/// Where it cannot be made.
pub(crate) fn make_folder(root: &Path, path: &str) -> Result<(), Error> {
    let place = paths::below(root, path);
    let made = match fs::create_dir(&place) {
        Ok(()) => fs::set_permissions(&place, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == IoKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    made.map_err(|error| Error::file(format!("cannot make the folder '{path}'"), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(place: &Path) -> u32 {
        fs::metadata(place).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_new_one_gets_its_own() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("a");
        write_file(root.path(), "/a", b"1", 0o755).unwrap();
        assert_eq!(mode(&place), 0o755);
        fs::set_permissions(&place, Permissions::from_mode(0o640)).unwrap();
        write_file(root.path(), "/a", b"\xff2", 0o755).unwrap();
        assert_eq!(
            (mode(&place), fs::read(&place).unwrap()),
            (0o640, b"\xff2".to_vec())
        );
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", root.path().join("a")).unwrap();
        assert!(write_file(root.path(), "/a", b"1", 0o644).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_temporary_file_that_was_left_is_no_trouble() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".a.vfioctl-new"), b"half").unwrap();
        write_file(root.path(), "/a", b"whole", 0o644).unwrap();
        assert_eq!(read_file(root.path(), "/a").unwrap().unwrap(), b"whole");
        remove_file(root.path(), "/a").unwrap();
        remove_file(root.path(), "/a").unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn missing_folders_are_made_from_the_outermost_on() {
        let root = tempfile::tempdir().unwrap();
        let missing = missing_folders(root.path(), "/etc/kernel/cmdline");
        assert_eq!(missing, ["/etc", "/etc/kernel"]);
        for folder in missing {
            make_folder(root.path(), &folder).unwrap();
        }
        assert!(missing_folders(root.path(), "/etc/kernel/cmdline").is_empty());
    }
}
