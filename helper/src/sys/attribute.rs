//! Writes to sysfs attributes that may never return.
//!
//! A driver's `remove` can wait for its users for ever, and the writer of `unbind` with it: after
//! a signal it cannot even be killed (`drivers/vfio/vfio_main.c`, `vfio_unregister_group_dev`; a
//! write that was killed still takes effect later). So each write is done by a child process that
//! does nothing else; when it takes too long, the child is left behind and the helper goes on.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};

use crate::kernel::WriteError;

/// A child whose write has not returned.
#[derive(Debug)]
pub(crate) struct Hanging {
    pid: Pid,
}

impl Hanging {
    /// Whether the write has still not returned. Reaps the child when it has.
    pub(crate) fn is_still(&self) -> bool {
        matches!(waitpid(Some(self.pid), WaitOptions::NOHANG), Ok(None))
    }
}

/// What came of a write.
pub(crate) enum Written {
    /// The kernel answered.
    Answered(Result<(), WriteError>),
    /// It has not answered in time.
    Hangs(Hanging),
}

/// Writes `value` to an attribute below `root`, at an offset where one is
/// given, from a child, and waits at most
/// `timeout`. The
/// child, and only it, holds `lock` until the write has returned.
pub(crate) fn write_attribute(
    root: &OwnedFd,
    path: &str,
    value: &[u8],
    at: Option<i64>,
    lock: OwnedFd,
    timeout: Duration,
) -> Written {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let failed = |errno: Errno| Written::Answered(Err(WriteError::Errno(errno.raw_os_error())));
    let file = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(errno) => return failed(errno),
    };
    let forked = fork_writer(&file, &lock, value, at);
    drop(lock);
    match forked {
        Ok(pid) => wait(pid, timeout).unwrap_or_else(failed),
        Err(errno) => failed(errno),
    }
}

fn wait(pid: Pid, timeout: Duration) -> Result<Written, Errno> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Written::Hangs(Hanging { pid }));
        }
        let left = Timespec::try_from(left).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        match poll(
            &mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)],
            Some(&left),
        ) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno),
        }
    }
    let status = waitpid(Some(pid), WaitOptions::empty())?.and_then(|(_, s)| s.exit_status());
    Ok(Written::Answered(match status {
        Some(0) => Ok(()),
        Some(errno) => Err(WriteError::Errno(errno)),
        // Somebody killed the child; whether it wrote is seen by reading back.
        None => Err(WriteError::Errno(libc::EINTR)),
    }))
}

/// Forks a child that writes and ends with the error number as its exit status.
#[expect(
    unsafe_code,
    reason = "fork, and the system calls of a child that may do nothing else"
)]
fn fork_writer(
    file: &OwnedFd,
    lock: &OwnedFd,
    value: &[u8],
    at: Option<i64>,
) -> Result<Pid, Errno> {
    let fd = file.as_raw_fd();
    let number = |fd: i32| u32::try_from(fd).unwrap_or_default();
    let (low, high) = (
        number(fd.min(lock.as_raw_fd())),
        number(fd.max(lock.as_raw_fd())),
    );
    // SAFETY: the child calls only close_range, write or pwrite, and _exit below, plain system calls that are safe there
    // (signal-safety(7)); it allocates nothing and takes no lock, so the state that other threads
    // left in the copied memory does not matter. `fork` itself has no precondition.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // A child that hangs must not hold the socket or the lock of the state directory.
        close_others(low, high);
        // SAFETY: `value` is a live slice of `value.len()` bytes, copied into the child with the
        // rest of its memory; `fd` is open in the child and was kept by close_others.
        let written = match at {
            None => unsafe { libc::write(fd, value.as_ptr().cast(), value.len()) },
            // SAFETY: as above.
            Some(at) => unsafe { libc::pwrite(fd, value.as_ptr().cast(), value.len(), at) },
        };
        let status = if written < 0 {
            std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO)
        } else {
            0
        };
        // SAFETY: ends the child without running anything of the parent's that is copied in it.
        unsafe { libc::_exit(status) }
    }
    if pid < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOMEM));
    }
    Pid::from_raw(pid).ok_or(Errno::SRCH)
}

/// Closes every descriptor but the standard ones and the two that the child needs.
fn close_others(low: u32, high: u32) {
    close_range(3, low.saturating_sub(1));
    close_range(low + 1, high.saturating_sub(1));
    close_range(high + 1, u32::MAX);
}

#[expect(unsafe_code, reason = "close_range in a forked child")]
fn close_range(first: u32, last: u32) {
    if first <= last {
        // SAFETY: runs in a forked child only, where no Rust value uses a descriptor any more but
        // the two that are spared; the numbers are plain integers.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_arrives_and_a_refusal_comes_back_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("attribute"), "").unwrap();
        let root: OwnedFd = std::fs::File::open(folder.path()).unwrap().into();
        let limit = Duration::from_secs(10);
        let lock = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let written = write_attribute(&root, "attribute", b"vfio-pci", None, lock(), limit);
        assert!(matches!(written, Written::Answered(Ok(()))));
        assert_eq!(
            std::fs::read(folder.path().join("attribute")).unwrap(),
            b"vfio-pci"
        );
        let absent = write_attribute(&root, "absent", b"x", None, lock(), limit);
        let Written::Answered(Err(error)) = absent else {
            panic!("an answer was expected")
        };
        assert_eq!(error, WriteError::Errno(libc::ENOENT));
        let outside = write_attribute(&root, "../attribute", b"x", None, lock(), limit);
        let Written::Answered(Err(error)) = outside else {
            panic!("an answer was expected")
        };
        assert_eq!(error, WriteError::Errno(libc::EXDEV));
    }

    #[test]
    fn a_write_that_does_not_return_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let root: OwnedFd = std::fs::File::open(folder.path()).unwrap().into();
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        // A pipe with a reader that never reads takes 64 KiB and then holds its writer.
        let reader = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.path().join("pipe"))
            .unwrap();
        let value = vec![0; 1 << 20];
        let lock: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let written = write_attribute(&root, "pipe", &value, None, lock, Duration::from_millis(50));
        let Written::Hangs(hanging) = written else {
            panic!("the write should hang")
        };
        assert!(hanging.is_still());
        drop(reader);
        let deadline = Instant::now() + Duration::from_secs(10);
        while hanging.is_still() {
            assert!(Instant::now() < deadline, "the child did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
