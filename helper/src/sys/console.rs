//! The log of a machine's serial console, which its guest writes without end if it likes.

use std::io::Write as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, ftruncate};
use rustix::io::Errno;

/// What stands in a log that was cut.
const CUT: &[u8] = b"[vfioctl: the console's log grew too long; what stood here was cut off]\n";

/// Empties the console's log when it is longer than `limit` bytes. QEMU appends, so it goes on at
/// the new end.
///
/// The folder belongs to the machine's user, who may have put anything there: only a regular file
/// is touched, and no link is followed.
pub(crate) fn trim_console(folder: &Path, limit: u64) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let io = rustix::fs::open(folder.join("io"), flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = flags | OFlags::NOFOLLOW;
    let log = rustix::fs::openat(&io, "console.log", flags, Mode::empty())?;
    let stat = fstat(&log)?;
    let is_long = u64::try_from(stat.st_size).is_ok_and(|size| size > limit);
    if is_long && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        ftruncate(&log, 0)?;
        // Without the note the log is only less clear.
        let _ = std::fs::File::from(log).write_all(CUT);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_cut_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let io = folder.path().join("io");
        std::fs::create_dir(&io).unwrap();
        let log = io.join("console.log");
        std::fs::write(&log, vec![b'x'; 100]).unwrap();
        trim_console(folder.path(), 100).unwrap();
        assert_eq!(std::fs::read(&log).unwrap().len(), 100);
        trim_console(folder.path(), 99).unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), CUT);
        std::fs::remove_file(&log).unwrap();
        std::fs::write(folder.path().join("precious"), vec![b'x'; 200]).unwrap();
        std::os::unix::fs::symlink("../precious", &log).unwrap();
        assert_eq!(trim_console(folder.path(), 99), Err(Errno::LOOP));
        assert_eq!(
            std::fs::read(folder.path().join("precious")).unwrap().len(),
            200
        );
    }
}
