//! Processes that are watched by descriptor, so that a recycled number is never taken for one.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};

/// A process held by descriptor (`pidfd_open(2)`, since 5.3).
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// Takes hold of a process. `None`: there is none of this number.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { pid, fd })
    }

    /// Whether the process has ended, waiting at most this long for it.
    pub(crate) fn has_ended_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            });
            let mut fds = [PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&limit)) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(Errno::INTR) => {}
                // What cannot be polled cannot be said to run.
                Ok(_) | Err(_) => return true,
            }
        }
    }

    /// Waits for the end without limit: this is what a machine's watcher is for. `meanwhile` is
    /// called at intervals.
    pub(crate) fn wait(&self, interval: Duration, mut meanwhile: impl FnMut()) {
        while !self.has_ended_within(interval) {
            meanwhile();
        }
        // Ours by fork where there is no systemd: then it must be reaped, and nobody else does it.
        let _ = waitpid(Some(self.pid), WaitOptions::NOHANG);
    }
}

/// Ends a process without asking it.
pub(crate) fn kill(process: &Process) -> Result<(), Errno> {
    pidfd_send_signal(&process.fd, Signal::KILL)
}
