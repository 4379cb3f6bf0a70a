//! The running kernel.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use vfioctl_core::Answer;
use vfioctl_core::pci::{GroupId, PciAddress};
use vfioctl_core::plan::Step;
use vfioctl_scan::SysRoot;

use super::attribute::{Hanging, Written, write_attribute};
use super::device_locks::DeviceLocks;
use super::ownership::give_node;
use crate::kernel::{Kernel, WriteError};

/// The running kernel, by its sysfs and its device nodes.
#[derive(Debug)]
pub struct LiveKernel {
    root: SysRoot,
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
        let root_of = SysRoot::below(root).map_err(std::io::Error::other)?;
        Ok(Self {
            root: root_of,
            sys: open("sys")?,
            dev: open("dev")?,
            locks: DeviceLocks::open(runtime)?,
            left_behind: Mutex::default(),
        })
    }

    /// Where a control register lies, by a walk through the capabilities as they are now. One that
    /// does not hold what the step was planned for is not written.
    fn find_control(&self, address: PciAddress, expected: u16) -> Result<i64, WriteError> {
        let found = vfioctl_scan::read_acs(&self.root, address);
        let Ok(Answer::Known(Some(registers))) = found else {
            return Err(WriteError::Errno(libc::ENODEV));
        };
        if registers.acs.control() != expected {
            return Err(WriteError::Errno(libc::ESTALE));
        }
        i64::try_from(registers.control_at).map_err(|_| WriteError::Errno(libc::EINVAL))
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
        let device = |attribute: &str| format!("bus/pci/devices/{address}/{attribute}");
        let (path, value, at) = match step {
            Step::SetAcs { from, to, .. } => {
                let at = self.find_control(address, *from)?;
                (device("config"), to.to_le_bytes().to_vec(), Some(at))
            }
            Step::SetPower { to, .. } => (device("power/control"), to.as_str().into(), None),
            Step::Remove { .. } => (device("remove"), b"1".to_vec(), None),
            Step::Rescan { .. } => {
                let bus = vfioctl_scan::read_bus_below(&self.root, address);
                let bus = bus.ok().flatten().ok_or(WriteError::Errno(libc::ENODEV))?;
                (
                    device(&format!("pci_bus/{bus}/rescan")),
                    b"1".to_vec(),
                    None,
                )
            }
            // A line end clears it: `driver_set_override` in `drivers/base/driver.c`.
            Step::SetOverride { to, .. } => (
                format!("bus/pci/devices/{address}/driver_override"),
                format!("{}\n", to.as_deref().unwrap_or_default()).into_bytes(),
                None,
            ),
            Step::Unbind { driver, .. } => (
                format!("bus/pci/drivers/{driver}/unbind"),
                address.to_string().into_bytes(),
                None,
            ),
            Step::Bind { driver, .. } => (
                format!("bus/pci/drivers/{driver}/bind"),
                address.to_string().into_bytes(),
                None,
            ),
        };
        match write_attribute(&self.sys, &path, &value, at, lock, timeout) {
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
