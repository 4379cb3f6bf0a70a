//! The logs of a machine, read for its user.
//!
//! They lie in the machine's folder: `log` in root's part of it, `io/console.log` in the user's, who
//! may have put anything in its place. The helper may read every file of this computer
//! (`CAP_DAC_READ_SEARCH`), so what it reads here is made sure of: a regular file that belongs to the
//! user, reached without a link or a mount, opened without waiting.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat};

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineLog {
    /// What the guest wrote to its serial console.
    Console,
    /// What QEMU said.
    Qemu,
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogPart {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// Where the next part begins.
    pub(crate) next: u64,
    /// Whether nothing is there beyond it now.
    pub(crate) is_end: bool,
}

/// Reads a part of a log of the user's, from `offset` on; from the start, where the log has become
/// shorter than that.
///
/// # Errors
/// Where it is not there, or is no file of the user's.
pub(crate) fn read_machine_log(
    folder: &Path,
    log: MachineLog,
    uid: u32,
    offset: u64,
    limit: u64,
) -> io::Result<LogPart> {
    let path = match log {
        MachineLog::Console => "io/console.log",
        MachineLog::Qemu => "log",
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    // Without waiting: a pipe without a writer would keep the caller's thread for ever. Nor across a
    // mount: users can mount file systems of their own making over folders of theirs.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve)?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_uid != uid {
        let message = "what is in its place is not a file of the machine's user";
        return Err(io::Error::other(message));
    }
    let len = u64::try_from(stat.st_size).unwrap_or_default();
    let start = if offset > len { 0 } else { offset };
    let mut file = File::from(file);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    let next = start + u64::try_from(bytes.len()).unwrap_or_default();
    Ok(LogPart {
        is_end: next >= len,
        bytes,
        next,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn own_uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn machine() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("io")).unwrap();
        std::fs::write(folder.path().join("io/console.log"), b"0123456789").unwrap();
        std::fs::write(folder.path().join("log"), b"qemu").unwrap();
        folder
    }

    fn read(folder: &Path, offset: u64) -> io::Result<LogPart> {
        read_machine_log(folder, MachineLog::Console, own_uid(), offset, 4)
    }

    #[test]
    fn a_log_is_read_in_parts_to_its_end() {
        let folder = machine();
        let mut all = Vec::new();
        let mut offset = 0;
        for is_end in [false, false, true, true] {
            let part = read(folder.path(), offset).unwrap();
            assert_eq!(part.is_end, is_end, "at {offset}");
            all.extend(part.bytes);
            offset = part.next;
        }
        assert_eq!((all.as_slice(), offset), (&b"0123456789"[..], 10));
        let part = read_machine_log(folder.path(), MachineLog::Qemu, own_uid(), 0, 9).unwrap();
        assert_eq!(part.bytes, b"qemu");
    }

    #[test]
    fn a_log_that_was_cut_is_read_from_its_start() {
        let folder = machine();
        std::fs::write(folder.path().join("io/console.log"), b"ab").unwrap();
        let part = read(folder.path(), 10).unwrap();
        assert_eq!((part.bytes.as_slice(), part.next), (&b"ab"[..], 2));
        assert_eq!(read(folder.path(), u64::MAX).unwrap().next, 2);
    }

    #[test]
    fn nothing_but_a_file_of_the_user_is_read() {
        let folder = machine();
        let log = folder.path().join("io/console.log");
        let strange = own_uid() + 1;
        assert!(read_machine_log(folder.path(), MachineLog::Console, strange, 0, 4).is_err());
        std::fs::write(folder.path().join("precious"), b"secret").unwrap();
        std::fs::remove_file(&log).unwrap();
        symlink("../precious", &log).unwrap();
        let linked = read(folder.path(), 0).unwrap_err();
        assert_eq!(linked.raw_os_error(), Some(libc::ELOOP));
        std::fs::remove_file(&log).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &log, FileType::Fifo, mode, 0).unwrap();
        let fifo = read(folder.path(), 0).unwrap_err();
        assert_eq!(fifo.kind(), io::ErrorKind::Other);
        std::fs::remove_file(&log).unwrap();
        std::fs::create_dir(&log).unwrap();
        assert_eq!(
            read(folder.path(), 0).unwrap_err().kind(),
            io::ErrorKind::Other
        );
        // The folder itself.
        std::fs::rename(folder.path().join("io"), folder.path().join("real")).unwrap();
        symlink("real", folder.path().join("io")).unwrap();
        assert!(read(folder.path(), 0).is_err());
    }
}
