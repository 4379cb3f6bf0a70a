//! A folder to work in, which is gone afterwards, whatever happens.
//!
//! Three things see to that. Dropping it removes it. Where this process ends without that, by
//! Ctrl-C or a kill, a child removes it, which waits for nothing but our end. And whoever makes
//! the next one removes what was left, after a crash of the machine too: each is locked
//! (`flock(2)`) while somebody works in it, so one that can be locked belongs to nobody.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use crate::error::{Error, ErrorKind};
use crate::file::is_folder;
use crate::limits::{MAX_LOOKED_AT, WORK_TRIES};

/// How the names of such folders begin. The point keeps them from being taken for an image.
const PREFIX: &str = ".vfioctl-image-";

/// Waits until the other end of its input is closed, which happens when we end, and removes the
/// folder. Programs of ours may be writing to it for one moment more.
const SWEEP: &str = "trap '' HUP INT TERM; read -r _; for _ in 1 2 3 4 5; do \
    rm -rf --one-file-system -- \"$1\" && exit; sleep 1; done";

/// A folder to work in.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    path: PathBuf,
    _lock: File,
    sweeper: Option<Child>,
}

impl WorkFolder {
    /// Removes what was left in `parent`, and makes a new one there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(crate) fn make(parent: &Path) -> Result<Self, Error> {
        remove_left(parent);
        let at = |error: io::Error| {
            let what = format!("cannot work in the folder '{}'", parent.display());
            Error::file(what, error)
        };
        for _ in 0..WORK_TRIES {
            let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
            let path = made.map_err(at)?.keep();
            // Between the two lines somebody else may have swept it away.
            if let Some(lock) = lock(&path) {
                let sweeper = start_sweeper(&path).ok();
                return Ok(Self {
                    path,
                    _lock: lock,
                    sweeper,
                });
            }
        }
        let what = format!("others keep sweeping the folder '{}'", parent.display());
        Err(Error::new(ErrorKind::Busy, what))
    }

    /// Lets everybody look into it. What is in there has modes of its own.
    ///
    /// # Errors
    /// Where that cannot be.
    pub(crate) fn open_to_all(&self) -> Result<(), Error> {
        fs::set_permissions(&self.path, Permissions::from_mode(0o755))
            .map_err(|error| Error::file(format!("cannot open '{}'", self.path.display()), error))
    }

    /// The path of something in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // First the other one that would remove it, for the name may be somebody else's after.
        if let Some(sweeper) = &mut self.sweeper {
            let _ = sweeper.kill();
            let _ = sweeper.wait();
        }
        // What cannot be removed now, the next run tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks a folder of ours; `None` where somebody works in it, or it is not there or not ours.
fn lock(path: &Path) -> Option<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (locked, there) = (file.metadata().ok()?, fs::symlink_metadata(path).ok()?);
    let is_same = (locked.dev(), locked.ino()) == (there.dev(), there.ino());
    let is_ours = locked.uid() == rustix::process::geteuid().as_raw();
    (is_same && is_ours).then_some(file)
}

fn remove_left(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.take(MAX_LOOKED_AT).flatten() {
        let is_work = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let path = entry.path();
        if is_work && is_folder(&path) && lock(&path).is_some() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn start_sweeper(path: &Path) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", SWEEP, "vfioctl-sweep"])
        .arg(path)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C is for us and not for it.
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn it_is_gone_when_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let work = WorkFolder::make(parent.path()).unwrap();
        fs::create_dir(work.join("a")).unwrap();
        fs::write(work.join("a/b"), "x").unwrap();
        drop(work);
        assert_eq!(count(parent.path()), 0);
    }

    #[test]
    fn what_was_left_is_removed_and_what_somebody_works_in_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join(".vfioctl-image-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("disk"), "half").unwrap();
        fs::create_dir(parent.path().join("other")).unwrap();
        std::os::unix::fs::symlink("other", parent.path().join(".vfioctl-image-link")).unwrap();
        let first = WorkFolder::make(parent.path()).unwrap();
        let second = WorkFolder::make(parent.path()).unwrap();
        assert!(first.join("").is_dir() && second.join("").is_dir() && !left.exists());
        assert!(parent.path().join("other").is_dir());
        assert_eq!(count(parent.path()), 4);
    }

    #[test]
    fn the_sweeper_removes_it_once_its_input_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("it's a \"name\"");
        fs::create_dir_all(path.join("a")).unwrap();
        let mut sweeper = start_sweeper(&path).unwrap();
        // As the kernel does when this process ends.
        drop(sweeper.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(20);
        while path.exists() {
            assert!(Instant::now() < deadline, "it is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
        sweeper.wait().unwrap();
    }
}
