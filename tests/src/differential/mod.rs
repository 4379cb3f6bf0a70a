//! The predictor of IOMMU groups against Linux itself.
//!
//! A seed gives a machine made at random and what is done to it: root ports with and without ACS,
//! switches in switches, conventional bridges, several root buses, virtual functions. QEMU boots it
//! with a kernel of the lab and one small program (`tests/lab/differential/init.c`), which shows
//! what the kernel made of it. The groups after the boot, and groups and ACS registers after each
//! of two to four actions, must be those that `vfioctl_core::iommu` says, twice: from the machine
//! as it was just before the action, and from the boot through all that has been done since.
//!
//! `scripts/differential` runs as many seeds as one likes, the suite `differential` a fixed dozen.

mod action;
pub mod command;
mod forecast;
mod guest;
mod machine;
mod picture;
mod random;
mod trial;

pub use trial::{Case, Report, is_boot_as_predicted};

/// A kernel of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian 12's own.
    V6_1,
    /// The newer one that Debian 12 offers.
    V6_12,
}

/// The kind of the emulated IOMMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iommu {
    /// Intel VT-d.
    Intel,
    /// AMD-Vi.
    Amd,
}

/// Every kernel with every IOMMU.
pub const COMBINATIONS: [(Kernel, Iommu); 4] = [
    (Kernel::V6_1, Iommu::Intel),
    (Kernel::V6_12, Iommu::Amd),
    (Kernel::V6_12, Iommu::Intel),
    (Kernel::V6_1, Iommu::Amd),
];

impl Kernel {
    /// Its name, as `VFIOCTL_LAB_KERNEL` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    fn release(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1.0-amd64",
            Self::V6_12 => "6.12.0-amd64",
        }
    }
}

impl Iommu {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intel => "intel",
            Self::Amd => "amd",
        }
    }
}
