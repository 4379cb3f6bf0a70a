//! One PCI function as the kernel shows it.

use std::fmt;
use std::str::FromStr;

use crate::acs::Acs;
use crate::config::{HeaderType, PcieType};
use crate::{Answer, Problem};

use super::{Bar, ClassCode, Identity, PciAddress};

/// The number of an IOMMU group (`/sys/kernel/iommu_groups/N`).
///
/// Numbers are reused as soon as a group is empty, so one is a name for now and never for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The name of a kernel driver, as it stands under `/sys/bus/pci/drivers/`.
///
/// Names go into sysfs, so only what a driver can be called is taken: letters, digits, `_`, `-`,
/// `.` and `+`, not more than 63 of them, no dots alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverName(String);

/// The text cannot be the name of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidDriverName;

impl DriverName {
    /// The driver that hands a device to user space.
    pub fn vfio_pci() -> Self {
        Self("vfio-pci".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the driver leaves its device free for VFIO to use its group: it sets
    /// `driver_managed_dma` in the kernel (6.1 and 6.12: vfio-pci and its variants, pci-stub,
    /// pcieport). Every other bound driver makes the group not viable.
    pub fn is_vfio_friendly(&self) -> bool {
        self.is_vfio() || matches!(self.as_str(), "pci-stub" | "pcieport")
    }

    /// Whether the driver gives the device to user space through VFIO.
    pub fn is_vfio(&self) -> bool {
        // vfio-pci and its variants: mlx5_vfio_pci, hisi_acc_vfio_pci, nvgrace_gpu_vfio_pci, ...
        self.0 == "vfio-pci" || self.0.ends_with("_vfio_pci") || self.0.ends_with("-vfio-pci")
    }
}

impl FromStr for DriverName {
    type Err = InvalidDriverName;

    fn from_str(text: &str) -> Result<Self, InvalidDriverName> {
        let is_name = (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(&byte))
            && text.bytes().any(|byte| byte != b'.');
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidDriverName)
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for InvalidDriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a driver name is 1 to 63 letters, digits, '_', '-', '.' or '+'")
    }
}

impl std::error::Error for InvalidDriverName {}

/// A function's part in single-root I/O virtualisation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SriovRole {
    /// Takes no part.
    #[default]
    None,
    /// A physical function that can make virtual ones.
    Physical {
        /// Virtual functions that exist now.
        virtual_functions: Vec<PciAddress>,
        /// Virtual functions it could have (`sriov_totalvfs`).
        total: u16,
    },
    /// A virtual function.
    Virtual {
        /// The physical function it belongs to (`physfn`).
        physical: PciAddress,
    },
}

/// One PCI function as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciFunction {
    /// Where it sits.
    pub address: PciAddress,
    /// What it says it is.
    pub identity: Identity,
    /// What kind of thing it is.
    pub class: ClassCode,
    /// Revision ID.
    pub revision: u8,
    /// The bridge above it; `None` on a root bus.
    pub upstream: Option<PciAddress>,
    /// Layout of its configuration header; tells bridges from endpoints.
    pub header_type: Answer<HeaderType>,
    /// Bit 7 of its own header type byte.
    pub multifunction_bit: Answer<bool>,
    /// Bytes of config space this reader was given: 64 unprivileged, 256 or 4096 otherwise.
    pub config_bytes_seen: u16,
    /// Device/port type of its PCI Express capability; `None` for conventional PCI.
    pub pcie_type: Answer<Option<PcieType>>,
    /// Access Control Services; `None` where the function has no such capability.
    pub acs: Answer<Option<Acs>>,
    /// The driver that is bound.
    pub driver: Option<DriverName>,
    /// The only driver that may bind, where one is set. Text, since the kernel takes any.
    pub driver_override: Answer<Option<String>>,
    /// Its IOMMU group; `None` where no IOMMU covers it.
    pub iommu_group: Option<GroupId>,
    /// The NUMA node it is attached to.
    pub numa_node: Option<u32>,
    /// Its windows.
    pub bars: Vec<Bar>,
    /// Ways the kernel can reset it, in the order it would try them; empty where it has none.
    pub reset_methods: Vec<String>,
    /// `D0`, `D3hot`, `D3cold`, `unknown`, ...
    pub power_state: Option<String>,
    /// Whether firmware used it as the boot display; only VGA devices know.
    pub boot_vga: Option<bool>,
    /// Its part in SR-IOV.
    pub sriov: SriovRole,
    /// What could not be read, each with its reason.
    pub problems: Vec<Problem>,
}

impl PciFunction {
    /// Whether this is a bridge, by its header type.
    ///
    /// Never by class: an NVSwitch has class 0x0680 and header type 0; it is an endpoint.
    pub fn is_bridge(&self) -> Answer<bool> {
        self.header_type.map(HeaderType::is_bridge)
    }

    /// Whether the function answers at all. A device that fell off the bus reads as all ones.
    pub fn is_gone(&self) -> bool {
        self.identity.vendor == 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn driver_names_that_could_leave_their_folder_are_refused() {
        for text in ["", ".", "..", "a/b", "a b", "x\n", &"x".repeat(64)] {
            assert_eq!(
                text.parse::<DriverName>(),
                Err(InvalidDriverName),
                "{text:?}"
            );
        }
        for text in [
            "vfio-pci",
            "snd_hda_intel",
            "bochs-drm",
            "8139cp",
            "i2c-designware-pci",
        ] {
            assert_eq!(
                text.parse::<DriverName>().map(|name| name.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn drivers_that_do_not_spoil_a_group_are_known() {
        let is_friendly = |text: &str| text.parse::<DriverName>().unwrap().is_vfio_friendly();
        for text in [
            "vfio-pci",
            "mlx5_vfio_pci",
            "nvgrace_gpu_vfio_pci",
            "pci-stub",
            "pcieport",
        ] {
            assert!(is_friendly(text), "{text}");
        }
        for text in ["nvidia", "shpchp", "snd_hda_intel"] {
            assert!(!is_friendly(text), "{text}");
        }
    }
}
