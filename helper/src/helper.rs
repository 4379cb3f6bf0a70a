//! The helper's one value: what it looks with, what it writes with, and what it remembers.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use vfioctl_core::claim::Owner;
use vfioctl_core::pci::GroupId;
use vfioctl_protocol::device::Recovered;
use vfioctl_scan::{SysRoot, read_user_name};

use crate::MethodError;
use crate::kernel::Kernel;
use crate::limits::START_RECOVERY_TIME;
use crate::machine::{Launcher, Machines};
use crate::pin::Pins;
use crate::regroup::AcsState;
use crate::reserve::{Reservation, Reservations};
use crate::state::State;
use crate::sys::RuntimeDirs;

/// What a helper is made of; the testkit makes one from a folder and a fake kernel.
#[derive(Debug)]
pub struct Parts {
    /// Where it looks.
    pub root: SysRoot,
    /// What changes devices.
    pub kernel: Box<dyn Kernel>,
    /// What starts machines.
    pub launcher: Box<dyn Launcher>,
    /// What it remembers.
    pub state: State,
    /// What it remembers over reboots.
    pub pins: Pins,
    /// What it remembers until the next boot.
    pub acs: AcsState,
    /// The runtime directory, `/run/vfioctl`.
    pub runtime: PathBuf,
    /// The program that machines are run by.
    pub qemu: String,
}

/// The helper.
#[derive(Debug)]
pub struct Helper {
    pub(crate) root: SysRoot,
    pub(crate) kernel: Box<dyn Kernel>,
    pub(crate) launcher: Box<dyn Launcher>,
    pub(crate) state: State,
    pub(crate) pins: Pins,
    pub(crate) runtime: RuntimeDirs,
    pub(crate) qemu: String,
    pub(crate) machines: Machines,
    pub(crate) reservations: Arc<Reservations>,
    /// Changes of ACS since the boot.
    pub(crate) acs: AcsState,
    /// Held while claims of containers are made and ended: each is looked at and written at once.
    pub(crate) containers: Mutex<()>,
    /// Held while ACS is changed and devices are grouped anew.
    pub(crate) regrouping: Mutex<()>,
    /// What recovery did when the helper started, until someone asks.
    pub(crate) recovered: Mutex<Vec<Recovered>>,
    is_ready: Mutex<bool>,
    ready: Condvar,
}

impl Helper {
    /// Puts a helper together. Nothing is done yet: see [`Helper::start`].
    pub fn new(parts: Parts) -> Self {
        Self {
            root: parts.root,
            kernel: parts.kernel,
            launcher: parts.launcher,
            state: parts.state,
            pins: parts.pins,
            runtime: RuntimeDirs::below(&parts.runtime),
            qemu: parts.qemu,
            acs: parts.acs,
            containers: Mutex::default(),
            regrouping: Mutex::default(),
            machines: Machines::default(),
            reservations: Arc::default(),
            recovered: Mutex::default(),
            is_ready: Mutex::new(false),
            ready: Condvar::new(),
        }
    }

    /// Takes up what an earlier helper left: adopts machines that run, takes home what has no
    /// living owner. Callers can connect meanwhile; what changes devices waits for the end.
    pub fn start(self: &Arc<Self>) {
        crate::recover::recover_at_start(self);
        *self.is_ready.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ready.notify_all();
    }

    /// Waits for the end of [`Self::start`]. After the limit it goes on: a device that hangs then
    /// is refused by itself.
    pub(crate) fn wait_until_ready(&self) {
        let is_ready = self.is_ready.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .ready
            .wait_timeout_while(is_ready, START_RECOVERY_TIME, |ready| !*ready);
        drop(waited);
    }

    /// Whether the helper may end: nothing runs and nothing is being done.
    pub(crate) fn is_idle(&self) -> bool {
        let is_ready = *self.is_ready.lock().unwrap_or_else(PoisonError::into_inner);
        is_ready && self.reservations.is_empty() && !self.machines.any_running()
    }

    /// The right to work on some groups, for an owner.
    ///
    /// # Errors
    /// `Busy`, naming who works on one of them.
    pub(crate) fn reserve(
        &self,
        groups: &[GroupId],
        owner: &Owner,
    ) -> Result<Reservation, MethodError> {
        self.reservations.take(groups, owner).map_err(|busy| {
            let (group, owner) = (busy.group, self.describe_owner(&busy.owner));
            MethodError::refused(
                "Busy",
                format!("group {group} is being worked on for {owner} at this moment"),
                "wait until that has ended and ask again",
            )
        })
    }

    /// The name of a user, for messages.
    pub(crate) fn user_name(&self, uid: u32) -> Option<String> {
        read_user_name(&self.root, uid)
    }

    /// An owner in words, with the user's name where there is one.
    pub(crate) fn describe_owner(&self, owner: &Owner) -> String {
        owner.described(self.user_name(owner.uid).as_deref())
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
