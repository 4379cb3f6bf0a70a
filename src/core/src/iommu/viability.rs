//! Whether a group can be used by VFIO: every member's driver must leave DMA to user space.
//!
//! Kernel: `drivers/iommu/iommu.c`, `iommu_device_use_default_domain` (since 5.19): every bound
//! driver without `driver_managed_dma` counts as a user of the group.

use crate::pci::{DriverName, PciAddress, PciFunction};

/// A member that keeps its group from being used by VFIO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoiler {
    /// The member.
    pub address: PciAddress,
    /// The driver that uses it.
    pub driver: DriverName,
}

/// Whether VFIO can use a group as its members are bound now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viability {
    /// At least one member is bound to a VFIO driver and none stands in the way.
    Viable,
    /// None stands in the way, but none is bound to a VFIO driver yet.
    Unbound,
    /// These members stand in the way.
    Spoiled(Vec<Spoiler>),
}

/// Judges a group by its members.
pub fn viability<'a>(members: impl IntoIterator<Item = &'a PciFunction>) -> Viability {
    let mut spoilers = Vec::new();
    let mut has_vfio = false;
    for member in members {
        let Some(driver) = &member.driver else {
            continue;
        };
        has_vfio |= driver.is_vfio();
        if !driver.is_vfio_friendly() {
            spoilers.push(Spoiler {
                address: member.address,
                driver: driver.clone(),
            });
        }
    }
    match (spoilers.is_empty(), has_vfio) {
        (false, _) => Viability::Spoiled(spoilers),
        (true, true) => Viability::Viable,
        (true, false) => Viability::Unbound,
    }
}
