//! Records of PCI functions.

use serde::Serialize;

use super::{GroupRecord, OwnerRecord, PinRecord};
use crate::seen::SeenBy;

/// A function, as lists have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FunctionRecord {
    /// Its address.
    pub(crate) address: String,
    /// Vendor ID, four hexadecimal digits.
    pub(crate) vendor_id: String,
    /// Device ID, four hexadecimal digits.
    pub(crate) device_id: String,
    /// Name of the vendor.
    pub(crate) vendor: Option<String>,
    /// Name of the device.
    pub(crate) device: Option<String>,
    /// Both names on one line, for people.
    pub(crate) name: String,
    /// Class code, six hexadecimal digits.
    pub(crate) class_code: String,
    /// Name of the class.
    pub(crate) class: Option<String>,
    /// Whether it is a bridge; null where that cannot be seen.
    pub(crate) is_bridge: Option<bool>,
    /// The driver that is bound.
    pub(crate) driver: Option<String>,
    /// Number of its IOMMU group.
    pub(crate) iommu_group: Option<u32>,
    /// Whether it is pinned, this very device; null where that cannot be seen.
    pub(crate) pinned: Option<bool>,
    /// The containers that use it with its own driver; null where that cannot be seen.
    pub(crate) containers: Option<Vec<OwnerRecord>>,
    /// Whether it can be had.
    pub(crate) state: StateRecord,
}

/// Whether a function can be had, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StateRecord {
    /// The state, for programs.
    pub(crate) kind: StateKind,
    /// Name of the refusal that binding would meet.
    pub(crate) reason: Option<&'static str>,
    /// The state, for people.
    pub(crate) text: String,
    /// Address of the function the state comes from, where it is another one.
    pub(crate) member: Option<String>,
    /// Who has it.
    pub(crate) owner: Option<OwnerRecord>,
}

/// The state of a function, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateKind {
    /// Nobody has it, nothing stands in the way.
    Free,
    /// Nothing stands in the way but claims, which cannot be seen.
    ClaimsHidden,
    /// This user has it.
    Yours,
    /// Someone else, or a machine, has it.
    Claimed,
    /// Containers use it with its own driver.
    InContainers,
    /// The running machine needs it.
    InUseByHost,
    /// It cannot be given to anyone.
    NotPassable,
}

/// Everything about one function: `vfioctl show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ShowRecord {
    /// Whose eyes it was seen with.
    pub(crate) seen_by: SeenBy,
    /// What lists have of it.
    pub(crate) function: FunctionRecord,
    /// Subsystem vendor ID, four hexadecimal digits.
    pub(crate) subsystem_vendor_id: String,
    /// Subsystem ID, four hexadecimal digits.
    pub(crate) subsystem_device_id: String,
    /// Name of the subsystem.
    pub(crate) subsystem: Option<String>,
    /// Revision ID, two hexadecimal digits.
    pub(crate) revision: String,
    /// Its `driver_override`.
    pub(crate) driver_override: Option<String>,
    /// Its group, with all members.
    pub(crate) group: Option<GroupRecord>,
    /// Pins of whatever sits, or sat, at its address; null where they cannot be seen.
    pub(crate) pins: Option<Vec<PinRecord>>,
    /// What the running machine needs it for, as sentences.
    pub(crate) host_uses: Vec<String>,
    /// NUMA node.
    pub(crate) numa_node: Option<u32>,
    /// Its windows.
    pub(crate) bars: Vec<BarRecord>,
    /// Ways the kernel can reset it, first choice first.
    pub(crate) reset_methods: Vec<String>,
    /// Power state.
    pub(crate) power_state: Option<String>,
    /// Whether firmware used it as the boot display; null for what is not VGA.
    pub(crate) boot_vga: Option<bool>,
    /// Its part in SR-IOV.
    pub(crate) sriov: Option<SriovRecord>,
    /// Device/port type of its PCI Express capability; null for conventional PCI.
    pub(crate) pcie_type: Option<String>,
    /// Access Control Services; null where it has no such capability.
    pub(crate) acs: Option<AcsRecord>,
    /// Bit 7 of its header type byte.
    pub(crate) multifunction_bit: Option<bool>,
    /// Bytes of config space that were seen.
    pub(crate) config_bytes_seen: u16,
    /// The bridges above it, nearest first, up to the root port or host bridge.
    pub(crate) upstream: Vec<UpstreamRecord>,
    /// Names of the fields that could not be seen and so have no meaning.
    pub(crate) hidden: Vec<&'static str>,
    /// What could not be read.
    pub(crate) problems: Vec<ProblemRecord>,
}

/// A window of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BarRecord {
    /// Number of the register; 6 for the ROM.
    pub(crate) index: u8,
    /// `memory32`, `memory64`, `io` or `rom`.
    pub(crate) kind: &'static str,
    /// Whether reads have no side effect.
    pub(crate) prefetchable: bool,
    /// Size of the window in bytes.
    pub(crate) size_bytes: u64,
}

/// A function's part in SR-IOV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub(crate) enum SriovRecord {
    /// A physical function.
    Physical {
        /// Addresses of the virtual functions that exist.
        virtual_functions: Vec<String>,
        /// How many there could be.
        total: u16,
    },
    /// A virtual function.
    Virtual {
        /// Address of its physical function.
        physical: String,
    },
}

/// The ACS registers of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AcsRecord {
    /// The capability register.
    pub(crate) capability: u16,
    /// The control register.
    pub(crate) control: u16,
    /// The bits that the function has.
    pub(crate) bits: Vec<AcsBitRecord>,
    /// Whether every bit that Linux asks for, and that the function has, is on.
    pub(crate) is_isolating: bool,
}

/// One bit of ACS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AcsBitRecord {
    /// Its short name, as `lspci` has it, in lower case.
    pub(crate) name: &'static str,
    /// Whether it is on.
    pub(crate) is_on: bool,
    /// Whether Linux asks for it.
    pub(crate) is_required: bool,
}

/// A bridge above a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UpstreamRecord {
    /// Its address.
    pub(crate) address: String,
    /// Its name.
    pub(crate) name: String,
    /// Device/port type; null for conventional PCI, and where it is hidden.
    pub(crate) pcie_type: Option<String>,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ProblemRecord {
    /// What was to be read.
    pub(crate) subject: String,
    /// Why it could not be.
    pub(crate) because: String,
}
