//! The seam to the kernel: everything that changes a device goes through here.
//!
//! The arguments are core's types, never paths, so that nothing else can be asked for. The live
//! implementation stands in `sys`; the testkit has one that edits a folder as Linux would.

use std::fmt;
use std::time::Duration;

use vfioctl_core::pci::{GroupId, PciAddress};
use vfioctl_core::plan::Step;

/// What changes devices.
pub trait Kernel: Send + Sync + fmt::Debug {
    /// Does one step. Success says that the kernel took the write, not that it had the effect:
    /// the caller reads back.
    ///
    /// # Errors
    /// What the kernel said, or that it said nothing in time.
    fn apply(&self, step: &Step, timeout: Duration) -> Result<(), WriteError>;

    /// Makes a user the owner of the group's VFIO node, so that their programs can open it.
    ///
    /// # Errors
    /// What the kernel said.
    fn grant_group(&self, group: GroupId, uid: u32) -> Result<(), WriteError>;

    /// Whether a write to the function that ran out of time still hangs.
    fn is_stuck(&self, address: PciAddress) -> bool;
}

/// Why a write did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// The kernel answered with an error number.
    Errno(i32),
    /// The kernel did not answer in time. The write may still take effect, at any time.
    TimedOut(Duration),
    /// An earlier write to the same function still hangs.
    Stuck,
}

impl WriteError {
    /// Whether trying again may help.
    pub(crate) fn is_transient(&self) -> bool {
        *self == Self::Errno(libc::EAGAIN)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => std::io::Error::from_raw_os_error(*errno).fmt(f),
            Self::TimedOut(limit) => write!(
                f,
                "the kernel has not finished within {} s; its driver does not let go",
                limit.as_secs()
            ),
            Self::Stuck => f.write_str("an earlier write to this device still hangs in the kernel"),
        }
    }
}

impl std::error::Error for WriteError {}
