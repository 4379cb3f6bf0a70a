//! The running kernel.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use vfioctl_core::pci::{GroupId, PciAddress};
use vfioctl_core::plan::Step;

use super::attribute::{Hanging, Written, write_attribute};
use super::device_locks::DeviceLocks;
use super::ownership::give_node;
use crate::kernel::{Kernel, WriteError};

/// The running kernel, by its sysfs and its device nodes.
#[derive(Debug)]
pub struct LiveKernel {
    sys: OwnedFd,
    dev: OwnedFd,
    locks: DeviceLocks,
    /// Children whose writes have not returned; they are ours to reap when they have.
    left_behind: Mutex<Vec<Hanging>>,
}

impl LiveKernel {
    /// Opens the `sys` and `dev` below a folder, `/` for the running machine, and the locks below
    /// the runtime directory.
    ///
    /// # Errors
    /// Where one cannot be opened.
    pub fn open(root: &Path, runtime: &Path) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |name| rustix::fs::open(root.join(name), flags, Mode::empty());
        Ok(Self {
            sys: open("sys")?,
            dev: open("dev")?,
            locks: DeviceLocks::open(runtime)?,
            left_behind: Mutex::default(),
        })
    }

    fn left_behind(&self) -> MutexGuard<'_, Vec<Hanging>> {
        self.left_behind
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel for LiveKernel {
    fn apply(&self, step: &Step, timeout: Duration) -> Result<(), WriteError> {
        let address = step.address();
        // A second write to a device whose first one hangs would hang too, or do harm later.
        let lock = match self.locks.take(address) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Err(WriteError::Stuck),
            Err(errno) => return Err(WriteError::Errno(errno.raw_os_error())),
        };
        let (path, value) = match step {
            // A line end clears it: `driver_set_override` in `drivers/base/driver.c`.
            Step::SetOverride { to, .. } => (
                format!("bus/pci/devices/{address}/driver_override"),
                format!("{}\n", to.as_deref().unwrap_or_default()),
            ),
            Step::Unbind { driver, .. } => (
                format!("bus/pci/drivers/{driver}/unbind"),
                address.to_string(),
            ),
            Step::Bind { driver, .. } => (
                format!("bus/pci/drivers/{driver}/bind"),
                address.to_string(),
            ),
        };
        match write_attribute(&self.sys, &path, value.as_bytes(), lock, timeout) {
            Written::Answered(answer) => answer,
            Written::Hangs(hanging) => {
                self.left_behind().push(hanging);
                Err(WriteError::TimedOut(timeout))
            }
        }
    }

    fn grant_group(&self, group: GroupId, uid: u32) -> Result<(), WriteError> {
        give_node(&self.dev, &format!("vfio/{group}"), uid)
    }

    fn is_stuck(&self, address: PciAddress) -> bool {
        self.left_behind().retain(Hanging::is_still);
        // A lock that cannot be asked for is no proof that nothing hangs.
        !matches!(self.locks.take(address), Ok(Some(_)))
    }
}
