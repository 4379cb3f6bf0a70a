//! The smallest things that are done to a device.

use std::fmt;

use crate::acs::BitNames;
use crate::pci::{DriverName, PciAddress};

/// One thing that is done to one function. What was is written down before, so that it can be
/// brought back from wherever a failure leaves it.
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
    /// Writes the ACS control register.
    SetAcs {
        /// The port.
        address: PciAddress,
        /// What it holds before.
        from: u16,
        /// What it shall hold.
        to: u16,
    },
    /// Writes `power/control` of a port. The kernel writes ACS anew when a port wakes from sleep
    /// (`drivers/pci/pci.c`, `pci_restore_state`), so a port whose bits were set by hand is kept
    /// awake.
    SetPower {
        /// The port.
        address: PciAddress,
        /// What it reads before.
        from: PowerControl,
        /// What it shall read.
        to: PowerControl,
    },
    /// Removes the function from the kernel's view, with everything below it (`remove`).
    Remove {
        /// The function.
        address: PciAddress,
    },
    /// Lets the kernel look for functions on the bus below a bridge
    /// (`pci_bus/DOMAIN:BUS/rescan`).
    Rescan {
        /// The bridge.
        bridge: PciAddress,
    },
}

/// Whether a device may sleep when nothing uses it (`power/control`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerControl {
    /// It may.
    Auto,
    /// It stays awake.
    On,
}

impl PowerControl {
    /// As it stands in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
        }
    }
}

impl Step {
    /// The function that the step touches.
    pub fn address(&self) -> PciAddress {
        match self {
            Self::SetOverride { address, .. }
            | Self::Unbind { address, .. }
            | Self::Bind { address, .. }
            | Self::SetAcs { address, .. }
            | Self::SetPower { address, .. }
            | Self::Remove { address }
            | Self::Rescan { bridge: address } => *address,
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
            Self::SetAcs { address, from, to } => {
                let (on, off) = (BitNames(to & !from), BitNames(from & !to));
                match (to & !from, from & !to) {
                    (_, 0) => write!(f, "set the ACS bits {on} of {address}"),
                    (0, _) => write!(f, "clear the ACS bits {off} of {address}"),
                    _ => write!(f, "set the ACS bits {on} and clear {off} of {address}"),
                }
            }
            Self::SetPower {
                address,
                to: PowerControl::On,
                ..
            } => write!(f, "keep {address} awake"),
            Self::SetPower { address, .. } => write!(f, "let {address} sleep again"),
            Self::Remove { address } => write!(f, "remove {address}"),
            Self::Rescan { bridge } => write!(f, "look for devices below {bridge}"),
        }
    }
}
