//! `vfioctl acs`: what may be typed.

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use vfioctl_core::acs::AcsChange;
use vfioctl_core::pci::PciAddress;

use super::Device;
use crate::completion::complete_address;

/// What to do about isolation.
#[derive(Debug, Subcommand)]
pub(crate) enum AcsVerb {
    /// Tell what keeps each GPU apart from other devices, bridge by bridge, and what it is worth.
    ///
    /// Exit status 0 where each of them is isolated, 1 where one is not, or only by assertion.
    Audit {
        /// Devices to look at; every GPU where none is named.
        #[arg(value_name = "ADDRESS", add = ArgValueCompleter::new(complete_address))]
        devices: Vec<PciAddress>,
    },
    /// Switch ACS bits of a port on and off, by name.
    ///
    /// Groups stay as they are until the devices below are found again (--regroup).
    /// Clearing bits reduces isolation: devices can then reach each other past the IOMMU.
    Set {
        #[command(flatten)]
        device: Device,
        /// Bits with their signs: +sv,+rr,+cr,+uf or -rr,-cr (sv, tb, rr, cr, uf, ec, dt).
        #[arg(value_name = "BITS", allow_hyphen_values = true)]
        bits: AcsChange,
        /// Remove what is below the port and let the kernel find and group it anew.
        #[arg(long)]
        regroup: bool,
        /// Print the steps and the groups afterwards; change nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Give each GPU an IOMMU group of its own, as far as the hardware can isolate it.
    ///
    /// Sets the ACS bits of the ports above, removes what shares the group and lets the kernel
    /// find it again. What the groups will be is predicted before and compared after; where they
    /// differ, everything is undone. Clears no bit, and asserts nothing that is not so.
    ///
    /// A card on a port of its own is removed alone. Where a switch is in the way, everything below
    /// its root port is removed; Linux has been seen to crash in that where link power management
    /// (ASPM) is on, so look at --plan first, and boot with 'pcie_aspm=off' where you can.
    Override {
        /// Devices to isolate; every GPU where none is named.
        #[arg(value_name = "ADDRESS", add = ArgValueCompleter::new(complete_address))]
        devices: Vec<PciAddress>,
        /// Print the steps and the groups afterwards; change nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Take back what 'acs set' and 'acs override' have changed since the boot.
    Restore {
        /// Ports to restore; all that were changed where none is named.
        #[arg(value_name = "ADDRESS", add = ArgValueCompleter::new(complete_address))]
        ports: Vec<PciAddress>,
        /// Print the steps and the groups afterwards; change nothing.
        #[arg(long)]
        plan: bool,
    },
}
