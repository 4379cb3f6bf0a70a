//! The smallest things that are done to a device.

use std::fmt;

use crate::pci::{DriverName, PciAddress};

/// One thing that is done to one function. Each has an inverse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes `driver_override`.
    SetOverride {
        /// The function.
        address: PciAddress,
        /// What it reads before.
        from: Option<String>,
        /// What it shall read.
        to: Option<String>,
    },
    /// Takes the function from its driver (`drivers/DRIVER/unbind`).
    Unbind {
        /// The function.
        address: PciAddress,
        /// The driver that has it.
        driver: DriverName,
    },
    /// Gives the function to a driver (`drivers/DRIVER/bind`, which tells the real error;
    /// `drivers_probe` answers success whatever happened).
    Bind {
        /// The function.
        address: PciAddress,
        /// The driver that shall have it.
        driver: DriverName,
    },
}

impl Step {
    /// The function that the step touches.
    pub fn address(&self) -> PciAddress {
        match self {
            Self::SetOverride { address, .. }
            | Self::Unbind { address, .. }
            | Self::Bind { address, .. } => *address,
        }
    }

    /// The step that takes this one back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self.clone() {
            Self::SetOverride { address, from, to } => Self::SetOverride {
                address,
                from: to,
                to: from,
            },
            Self::Unbind { address, driver } => Self::Bind { address, driver },
            Self::Bind { address, driver } => Self::Unbind { address, driver },
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetOverride {
                address,
                to: Some(to),
                ..
            } => {
                write!(f, "set driver_override of {address} to '{to}'")
            }
            Self::SetOverride {
                address, to: None, ..
            } => {
                write!(f, "clear driver_override of {address}")
            }
            Self::Unbind { address, driver } => write!(f, "unbind {address} from {driver}"),
            Self::Bind { address, driver } => write!(f, "bind {address} to {driver}"),
        }
    }
}
