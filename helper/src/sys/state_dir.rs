//! The state directory: small files that are written whole or not at all.

use std::io::{Read as _, Write as _};
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::limits::MAX_STATE_BYTES;
use crate::state::StateError;

/// An open state directory that no other helper uses.
#[derive(Debug)]
pub(crate) struct StateDir {
    dir: OwnedFd,
}

impl StateDir {
    /// Opens the directory and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let at = |what: &str, errno: Errno| {
            StateError::new(
                format!("{what} the state directory '{}'", path.display()),
                errno,
            )
        };
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(at("make", errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| at("open", errno))?;
        // Two helpers on one state would each undo what the other does.
        rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| at("lock (does another helper run?)", errno))?;
        Ok(Self { dir })
    }

    /// Opens a directory that is there, beside whoever else has it open.
    pub(crate) fn open_shared(path: &Path) -> Result<Self, StateError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| StateError::new(format!("open '{}'", path.display()), errno))?;
        Ok(Self { dir })
    }

    /// The same, and `None` where it is not there.
    pub(crate) fn open_existing(path: &Path) -> Result<Option<Self>, StateError> {
        match Self::open_shared(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a folder inside, where it is missing.
    pub(crate) fn make_folder(&self, name: &str) -> Result<(), StateError> {
        match rustix::fs::mkdirat(&self.dir, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(StateError::new(format!("make the folder '{name}'"), errno)),
        }
    }

    /// The names in a folder, sorted.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, StateError> {
        let at = |errno: Errno| StateError::new(format!("list '{folder}'"), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, folder, flags, Mode::empty()).map_err(at)?;
        let mut names = Vec::new();
        for entry in Dir::new(dir).map_err(at)? {
            names.push(
                entry
                    .map_err(at)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        names.sort();
        Ok(names)
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, StateError> {
        let at = |error: std::io::Error| StateError::new(format!("read '{name}'"), error);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty())
            .map_err(|errno| at(errno.into()))?;
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(MAX_STATE_BYTES)
            .read_to_end(&mut bytes)
            .map_err(at)?;
        Ok(bytes)
    }

    /// Writes a file whole: after a crash there is the old one or the new one.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let at = |error: std::io::Error| StateError::new(format!("write '{name}'"), error);
        let temporary = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.dir, &*temporary, flags | OFlags::NOFOLLOW, mode)
            .map_err(|errno| at(errno.into()))?;
        let mut file = std::fs::File::from(file);
        file.write_all(bytes).map_err(at)?;
        file.sync_all().map_err(at)?;
        rustix::fs::renameat(&self.dir, &*temporary, &self.dir, name)
            .map_err(|errno| at(errno.into()))?;
        self.sync_folder_of(name).map_err(|errno| at(errno.into()))
    }

    /// Removes a file; it is no error where there is none.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StateError> {
        let at = |errno: Errno| StateError::new(format!("remove '{name}'"), errno);
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) => self.sync_folder_of(name).map_err(at),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(at(errno)),
        }
    }

    /// A rename or removal is on disk once its folder is (`fsync(2)`).
    fn sync_folder_of(&self, name: &str) -> Result<(), Errno> {
        let folder = name.rsplit_once('/').map_or(".", |(folder, _)| folder);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.dir, folder, flags, Mode::empty())?;
        rustix::fs::fsync(&folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_helper_is_kept_out_and_files_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path()).unwrap();
        assert!(StateDir::open(folder.path()).is_err());
        first.make_folder("claims").unwrap();
        first.write("claims/a.json", b"one").unwrap();
        first.write("claims/a.json", b"two").unwrap();
        assert_eq!(first.list("claims").unwrap(), [".", "..", "a.json"]);
        assert_eq!(first.read("claims/a.json").unwrap(), b"two");
        first.remove("claims/a.json").unwrap();
        first.remove("claims/a.json").unwrap();
        drop(first);
        assert!(StateDir::open(folder.path()).is_ok());
    }
}
