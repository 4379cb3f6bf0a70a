//! The medium: the file's bytes, for one process at a time, and the disk below them.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Instant;

use redb::StorageBackend;
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate};
use rustix::io::Errno;

use crate::limits::{LOCK_PAUSE, LOCK_TIME};
use crate::{Error, ErrorKind, Result};

/// A file that this process alone has.
#[derive(Debug)]
pub(super) struct Medium {
    path: PathBuf,
    /// Where a file is until it is complete.
    draft: Option<PathBuf>,
    file: File,
    /// Held until the file is closed. Not on the file itself: an administrator may put another one,
    /// from a backup, in its place.
    _lock: File,
}

/// Names the process that holds the lock: more digits than any process number has.
const HOLDER_LEN: u64 = 20;

impl Medium {
    /// Opens the file at a path. Where there is none, it is made beside it, until it is
    /// [published](Self::publish): what a crash leaves while it is made, is no store.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let lock = lock(path)?;
        let is_there = path.symlink_metadata().is_ok();
        let file = is_there.then(|| open(path)).transpose()?;
        let file = match file {
            Some(file) if !check(&file, path)? => Some(file),
            _ => None,
        };
        let (file, draft) = match file {
            Some(file) => (file, None),
            None => {
                let draft = beside(path, ".new");
                let file = open(&draft)?;
                file.set_len(0)
                    .map_err(|cause| failed("empty", &draft, cause))?;
                (file, Some(draft))
            }
        };
        Ok(Self {
            path: path.to_owned(),
            draft,
            file,
            _lock: lock,
        })
    }

    /// Puts a new file in its place, where it is found also after a power cut.
    pub(super) fn publish(&self) -> Result<()> {
        let Some(draft) = &self.draft else {
            return Ok(());
        };
        std::fs::rename(draft, &self.path).map_err(|cause| failed("make", &self.path, cause))?;
        sync_folder(&self.path)
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    /// Room is taken from the disk before the file grows into it: a disk that is full says so here,
    /// and not in the middle of a commit.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if len > now {
            // The length is left to the call below, which changes it at once or not at all.
            match fallocate(&self.file, FallocateFlags::KEEP_SIZE, now, len - now) {
                // A file system that cannot do so tells of a full disk later, which is still told.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

/// Refuses what cannot be a store, and tells whether it is an empty file.
fn check(file: &File, path: &Path) -> Result<bool> {
    let metadata = file
        .metadata()
        .map_err(|cause| failed("read", path, cause))?;
    if !metadata.is_file() {
        let what = format!("'{}' is not a file; name another path", path.display());
        return Err(Error::new(ErrorKind::Refused, what));
    }
    if metadata.mode() & 0o077 != 0 {
        let path = path.display();
        let what = format!(
            "'{path}' may be read or written by others, and holds what they must not know; \
             run: chmod 600 '{path}'"
        );
        return Err(Error::new(ErrorKind::Refused, what));
    }
    Ok(metadata.len() == 0)
}

/// Takes the lock beside a path, or tells who has it.
fn lock(path: &Path) -> Result<File> {
    let lock_path = beside(path, ".lock");
    let mut lock = open(&lock_path)?;
    let end = Instant::now() + LOCK_TIME;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(taken(path, &lock)),
            Err(TryLockError::Error(cause)) => return Err(failed("lock", &lock_path, cause)),
        }
    }
    let mut write = || {
        lock.rewind()?;
        lock.set_len(0)?;
        write!(lock, "{}", std::process::id())
    };
    // The number is for people; a disk that is full does not keep a store from being opened.
    let _ = write();
    Ok(lock)
}

fn taken(path: &Path, lock: &File) -> Error {
    let mut holder = String::new();
    let read = lock.take(HOLDER_LEN).read_to_string(&mut holder);
    let who = match read {
        Ok(1..) if holder.bytes().all(|byte| byte.is_ascii_digit()) => format!("process {holder}"),
        _ => "another process".to_owned(),
    };
    let what = format!(
        "'{}' is in use by {who}; stop it, or give this one a file of its own",
        path.display()
    );
    Error::new(ErrorKind::Refused, what)
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    file.map(File::from).map_err(|error| match error {
        Errno::NOENT => {
            let what = format!(
                "'{}' is in a folder that is not there; make it",
                path.display()
            );
            Error::new(ErrorKind::Refused, what)
        }
        Errno::LOOP => {
            let what = format!("'{}' is a link; name what it leads to", path.display());
            Error::new(ErrorKind::Refused, what)
        }
        error => failed("open", path, error.into()),
    })
}

/// Makes sure that a new file is found after a power cut.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let sync = File::open(folder).and_then(|folder| folder.sync_all());
    sync.map_err(|cause| failed("make durable", folder, cause))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(verb: &str, path: &Path, cause: io::Error) -> Error {
    let kind = match cause.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{verb} '{}'", path.display())).caused_by(cause)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn refused(path: &Path) -> String {
        let error = Medium::open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        error.to_string()
    }

    #[test]
    fn a_file_is_its_owners_and_of_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let medium = Medium::open(&path).unwrap();
        assert!(!path.exists(), "it is not complete yet");
        medium.publish().unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        let who = format!("in use by process {};", std::process::id());
        assert!(refused(&path).contains(&who), "{}", refused(&path));
        drop(medium);
        assert!(Medium::open(&path).is_ok());
    }

    #[test]
    fn what_is_no_file_of_its_own_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        refused(&path.join("in"));
        symlink(folder.path().join("other"), &path).unwrap();
        refused(&path);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"text").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        refused(&path);
        assert!(Medium::open(folder.path()).is_err());
    }

    #[test]
    fn a_file_grows_with_zeros_and_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let medium = Medium::open(&folder.path().join("store")).unwrap();
        medium.set_len(8192).unwrap();
        medium.write(4096, b"text").unwrap();
        let mut read = [1; 6];
        medium.read(4096, &mut read).unwrap();
        assert_eq!(&read, b"text\0\0");
        medium.set_len(4096).unwrap();
        assert_eq!(medium.len().unwrap(), 4096);
        assert!(medium.read(4096, &mut read).is_err(), "past the end");
    }
}
