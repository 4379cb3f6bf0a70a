//! Records of isolation: what it is worth, and what was done about it.

use serde::Serialize;

use super::{AcsRecord, ProblemRecord, StepRecord};
use crate::seen::SeenBy;

/// `vfioctl acs audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AuditRecord {
    /// Whose eyes it was seen with.
    pub(crate) seen_by: SeenBy,
    /// The day on which the kernel's quirk table was read.
    pub(crate) quirk_table: &'static str,
    /// The devices.
    pub(crate) devices: Vec<AuditedRecord>,
    /// Switches that the kernel takes for separating, and that may not.
    pub(crate) open_switches: Vec<OpenSwitchRecord>,
    /// Ports that vfioctl has changed since the boot; null where that cannot be seen.
    pub(crate) changes: Option<Vec<ChangeRecord>>,
    /// What could not be read.
    pub(crate) problems: Vec<ProblemRecord>,
}

/// One device, and every bridge above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AuditedRecord {
    /// Its address.
    pub(crate) address: String,
    /// What it is.
    pub(crate) name: String,
    /// Number of its group; null where it has none.
    pub(crate) iommu_group: Option<u32>,
    /// What its separation is worth, for programs.
    pub(crate) verdict: &'static str,
    /// The same for people.
    pub(crate) text: String,
    /// Functions of other devices that the kernel has in its group.
    pub(crate) kernel_partners: Vec<String>,
    /// Functions of other devices that the registers would put there.
    pub(crate) register_partners: Vec<String>,
    /// Functions of other devices that it may reach through a switch.
    pub(crate) switch_partners: Vec<String>,
    /// The bridges above it, nearest first.
    pub(crate) hops: Vec<HopRecord>,
}

/// A bridge above a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct HopRecord {
    /// Its address.
    pub(crate) address: String,
    /// What it is.
    pub(crate) name: String,
    /// Device/port type; null for conventional PCI, and where it is hidden.
    pub(crate) pcie_type: Option<String>,
    /// Its registers; null where it has none, and where they are hidden.
    pub(crate) acs: Option<AcsRecord>,
    /// Whether it isolates, as the kernel believes; null where that cannot be seen.
    pub(crate) isolates: Option<bool>,
    /// Why, for programs.
    pub(crate) reason: &'static str,
    /// Why, for people.
    pub(crate) because: String,
}

/// A switch that may route between what the kernel separates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct OpenSwitchRecord {
    /// Its upstream port.
    pub(crate) upstream_port: String,
    /// Its ports that do not isolate.
    pub(crate) ports: Vec<String>,
}

/// A port that was changed since the boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ChangeRecord {
    /// The port.
    pub(crate) address: String,
    /// Bits that were on before the first change.
    pub(crate) before: Vec<String>,
    /// Bits that were on after the last.
    pub(crate) after: Vec<String>,
    /// Number of the user who asked.
    pub(crate) uid: i64,
    /// Name of the user.
    pub(crate) user: Option<String>,
    /// When, in seconds since 1970.
    pub(crate) since: i64,
}

/// `vfioctl acs set`, `override` and `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RegroupRecord {
    /// Whether this is only a plan.
    pub(crate) planned: bool,
    /// The ports that change.
    pub(crate) ports: Vec<PortRecord>,
    /// Functions that are removed and found again.
    pub(crate) members: Vec<String>,
    /// Groups that are concerned, as they were.
    pub(crate) groups_before: Vec<Vec<String>>,
    /// The same functions, as they were predicted to be grouped.
    pub(crate) groups_predicted: Vec<Vec<String>>,
    /// The same functions, as the kernel groups them now; null in a plan.
    pub(crate) groups_now: Option<Vec<Vec<String>>>,
    /// The steps that were done, or would be.
    pub(crate) steps: Vec<StepRecord>,
    /// Devices that stay as they are.
    pub(crate) others: Vec<OtherRecord>,
}

/// A port that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PortRecord {
    /// Its address.
    pub(crate) address: String,
    /// Bits that are on before.
    pub(crate) before: Vec<String>,
    /// Bits that are on afterwards.
    pub(crate) after: Vec<String>,
}

/// A device that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct OtherRecord {
    /// Its address.
    pub(crate) address: String,
    /// Why it stays, for programs.
    pub(crate) reason: String,
    /// The same for people.
    pub(crate) message: String,
    /// What to try; null where nothing is amiss.
    pub(crate) hint: Option<String>,
}
