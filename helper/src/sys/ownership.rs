//! Owners of device nodes.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Uid, chownat, statat};
use rustix::io::Errno;

use crate::kernel::WriteError;

/// Makes a user the owner of a character device below `dev`. Its mode stays: 0600.
///
/// The kernel makes the node before the bind returns (`drivers/base/devtmpfs.c` waits for its
/// thread), and udev changes neither owner nor mode of what no rule names.
pub(super) fn give_node(dev: &OwnedFd, path: &str, uid: u32) -> Result<(), WriteError> {
    let failed = |errno: Errno| WriteError::Errno(errno.raw_os_error());
    let stat = statat(dev, path, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
        return Err(WriteError::Errno(libc::ENODEV));
    }
    chownat(
        dev,
        path,
        Some(Uid::from_raw(uid)),
        None,
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(failed)
}
