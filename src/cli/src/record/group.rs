//! Records of IOMMU groups, and of lists of devices.

use serde::Serialize;

use super::{AcsRecord, ClaimRecord, FunctionRecord, PinRecord, ProblemRecord};
use crate::seen::SeenBy;

/// Devices: `vfioctl list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ListRecord {
    /// Whose eyes it was seen with.
    pub(crate) seen_by: SeenBy,
    /// The devices.
    pub(crate) devices: Vec<DeviceRecord>,
    /// All claims; null where they cannot be seen.
    pub(crate) claims: Option<Vec<ClaimRecord>>,
    /// All pins; null where they cannot be seen.
    pub(crate) pins: Option<Vec<PinRecord>>,
    /// What could not be read.
    pub(crate) problems: Vec<ProblemRecord>,
}

/// A device: the functions of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeviceRecord {
    /// Its functions.
    pub(crate) functions: Vec<FunctionRecord>,
}

/// Groups: `vfioctl groups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GroupsRecord {
    /// Whose eyes it was seen with.
    pub(crate) seen_by: SeenBy,
    /// The groups, by number.
    pub(crate) groups: Vec<GroupRecord>,
    /// Functions in no group.
    pub(crate) ungrouped: Vec<FunctionRecord>,
    /// With `--tree`: every function, in the order of the drawing.
    pub(crate) tree: Option<Vec<TreeNodeRecord>>,
    /// What could not be read.
    pub(crate) problems: Vec<ProblemRecord>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GroupRecord {
    /// Its number.
    pub(crate) group: u32,
    /// Whether VFIO can use it as its members are bound now.
    pub(crate) viability: ViabilityKind,
    /// The members that keep VFIO from it.
    pub(crate) spoilers: Vec<SpoilerRecord>,
    /// Its members, bridges included.
    pub(crate) members: Vec<FunctionRecord>,
}

/// Whether VFIO can use a group as its members are bound now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ViabilityKind {
    /// At least one member is bound to VFIO, none stands in the way.
    Viable,
    /// None stands in the way, none is bound to VFIO.
    Unbound,
    /// A driver of the host stands in the way.
    Spoiled,
}

/// A member that keeps VFIO from its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SpoilerRecord {
    /// The member.
    pub(crate) address: String,
    /// Its driver.
    pub(crate) driver: String,
}

/// One function in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TreeNodeRecord {
    /// Levels above it.
    pub(crate) depth: usize,
    /// For each level above: whether the line there goes on below this node.
    #[serde(skip)]
    pub(crate) open_levels: Vec<bool>,
    /// Whether it is the last one below its parent.
    #[serde(skip)]
    pub(crate) is_last: bool,
    /// Address of the bridge above; null on a root bus.
    pub(crate) upstream: Option<String>,
    /// The function.
    pub(crate) function: FunctionRecord,
    /// Device/port type; null for conventional PCI.
    pub(crate) pcie_type: Option<String>,
    /// Access Control Services; null where it has no such capability.
    pub(crate) acs: Option<AcsRecord>,
    /// Names of the fields that could not be seen and so have no meaning.
    pub(crate) hidden: Vec<&'static str>,
}
