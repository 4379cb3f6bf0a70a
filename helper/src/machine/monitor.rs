//! The monitor of a machine: QMP, to a process that is checked to be the machine's.
//!
//! The socket lies in a folder of the user's, who could put any other socket in its place; so
//! before a byte is written, the kernel is asked who listens there.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use vfioctl_qemu::qmp::{Client, QmpError, QmpErrorKind};

use crate::limits::{QMP_STATUS_TIME, QMP_TIME};

/// Why the monitor was of no use.
#[derive(Debug)]
pub(crate) enum MonitorError {
    /// Nothing listens: QEMU has not begun, or has ended.
    NotListening,
    /// QEMU answered, but not as it should.
    Qmp(QmpError),
}

impl fmt::Display for MonitorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListening => f.write_str("its monitor does not listen"),
            Self::Qmp(error) => error.fmt(f),
        }
    }
}

/// The monitor of a machine.
#[derive(Debug)]
pub(crate) struct Monitor {
    socket: PathBuf,
    uid: u32,
    client: Mutex<Option<Client>>,
    /// Why QEMU ended, out of the events of a connection that is gone.
    reason: Mutex<Option<String>>,
}

impl Monitor {
    /// A monitor that will be at `socket`, made by a process of `uid`.
    pub(crate) fn at(socket: impl AsRef<Path>, uid: u32) -> Self {
        Self {
            socket: socket.as_ref().to_owned(),
            uid,
            client: Mutex::new(None),
            reason: Mutex::new(None),
        }
    }

    /// Forgets a QEMU that has ended, for the next one at the same socket.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects and greets. `Ok(false)`: nothing listens there yet.
    pub(crate) fn greet(&self, timeout: Duration) -> Result<bool, QmpError> {
        let mut client = self.lock();
        if client.is_some() {
            return Ok(true);
        }
        let Ok(stream) = self.connect() else {
            return Ok(false);
        };
        *client = Some(Client::new(stream, timeout)?);
        Ok(true)
    }

    /// The process that listens on the monitor's socket, if it is the user's.
    pub(crate) fn listener_pid(&self) -> Option<u32> {
        let stream = self.connect().ok()?;
        let pid = getsockopt(&stream, PeerCredentials).ok()?.pid();
        u32::try_from(pid).ok().filter(|pid| *pid > 0)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        if getsockopt(&stream, PeerCredentials)?.uid() == self.uid {
            Ok(stream)
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    /// What QEMU says of itself, where it says so soon.
    pub(crate) fn status(&self) -> Option<String> {
        self.call(|client| client.status(QMP_STATUS_TIME))
            .ok()
            .map(|status| status.name)
    }

    /// Presses the power button.
    pub(crate) fn system_powerdown(&self) -> Result<(), MonitorError> {
        self.call(|client| client.system_powerdown(QMP_TIME))
    }

    /// Ends QEMU.
    pub(crate) fn quit(&self) -> Result<(), MonitorError> {
        self.call(|client| client.quit(QMP_TIME))
    }

    fn call<T>(
        &self,
        call: impl FnOnce(&mut Client) -> Result<T, QmpError>,
    ) -> Result<T, MonitorError> {
        self.greet(QMP_TIME).map_err(MonitorError::Qmp)?;
        let mut guard = self.lock();
        let client = guard.as_mut().ok_or(MonitorError::NotListening)?;
        let result = call(client);
        let is_lost = result.as_ref().is_err_and(|error| {
            !matches!(error.kind(), QmpErrorKind::Refused | QmpErrorKind::TimedOut)
        });
        // What the connection brought before it broke may say why QEMU ended.
        if is_lost && let Some(mut lost) = guard.take() {
            self.note_reason(&mut lost);
        }
        result.map_err(MonitorError::Qmp)
    }

    /// After QEMU's end: why it ended, out of the events that it left.
    pub(crate) fn shutdown_reason(&self) -> Option<String> {
        if let Some(mut client) = self.lock().take() {
            self.note_reason(&mut client);
        }
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note_reason(&self, client: &mut Client) {
        // The queue of events is bounded, and the socket of an ended process has an end.
        while let Ok(Some(event)) = client.next_event(Duration::from_millis(100)) {
            let reason = event.data.get("reason").and_then(|reason| reason.as_str());
            if let ("SHUTDOWN", Some(reason)) = (event.name.as_str(), reason) {
                let mut noted = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
                *noted = Some(reason.to_owned());
            }
        }
    }
}
