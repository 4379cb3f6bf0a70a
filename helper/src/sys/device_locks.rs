//! Locks that say that a write to a device has not returned, also to a later helper.
//!
//! The child that writes holds the device's lock and nothing else does (`flock(2)`: a lock belongs
//! to the open file, which the child inherits). When the helper is killed, its child goes on, and
//! the next helper sees the lock: it neither takes the device's state for final nor writes to it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use vfioctl_core::pci::PciAddress;

/// The folder with the locks; it goes with the boot, as the writers do.
#[derive(Debug)]
pub(super) struct DeviceLocks {
    dir: OwnedFd,
}

impl DeviceLocks {
    /// Opens `locks` below the runtime directory, and makes it where it is missing.
    pub(super) fn open(runtime: &Path) -> std::io::Result<Self> {
        let path = runtime.join("locks");
        std::fs::create_dir_all(runtime)?;
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self {
            dir: rustix::fs::open(&path, flags, Mode::empty())?,
        })
    }

    /// Takes a device's lock; `None` where a writer holds it.
    pub(super) fn take(&self, address: PciAddress) -> Result<Option<OwnedFd>, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let name = address.to_string();
        let file = rustix::fs::openat(&self.dir, &*name, flags, Mode::RUSR | Mode::WUSR)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_its_last_holder_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let locks = DeviceLocks::open(folder.path()).unwrap();
        let later = DeviceLocks::open(folder.path()).unwrap();
        let address: PciAddress = "0000:01:00.0".parse().unwrap();
        let held = locks.take(address).unwrap().unwrap();
        let inherited = held.try_clone().unwrap();
        drop(held);
        assert!(later.take(address).unwrap().is_none());
        drop(inherited);
        assert!(later.take(address).unwrap().is_some());
    }
}
