//! GPUs of a node: what they are, who has them, how they fare.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{NodeName, TaskId};

/// The number of a GPU on its node. It is given once, by where the GPU sits, and stays over
/// reboots, binds and changes of driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GpuNumber(u16);

/// The text is not the number of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidGpuNumber;

impl GpuNumber {
    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl From<u16> for GpuNumber {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

impl FromStr for GpuNumber {
    type Err = InvalidGpuNumber;

    fn from_str(text: &str) -> Result<Self, InvalidGpuNumber> {
        let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.map(Self).ok_or(InvalidGpuNumber)
    }
}

impl fmt::Display for GpuNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InvalidGpuNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a GPU is named by its number on its node, as 'vfioctl gpu list' shows it")
    }
}

impl std::error::Error for InvalidGpuNumber {}

/// Who makes a GPU, as far as it matters for handing it to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Vendor {
    /// NVIDIA: device nodes of its own, and libraries that belong to the driver.
    Nvidia,
    /// AMD: DRM nodes and `/dev/kfd`.
    Amd,
    /// Intel: DRM nodes.
    Intel,
    /// Any other: DRM nodes.
    Other,
}

/// Whether something can be had, and where it cannot, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Capability {
    /// Whether it can be had.
    pub available: bool,
    /// Why it cannot, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Capability {
    /// It can be had.
    pub fn yes() -> Self {
        Self {
            available: true,
            reason: None,
        }
    }

    /// It cannot, for this reason.
    pub fn no(reason: impl Into<String>) -> Self {
        Self {
            available: false,
            reason: Some(reason.into()),
        }
    }
}

/// What has a GPU, as the helper of its node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holder {
    /// What kind of holder.
    pub kind: HolderKind,
    /// Its name: of the machine or container; of the user, for a person.
    pub name: String,
    /// Whose it is: a user of the node, or what the runner was told of the one who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether nobody else may have the GPU meanwhile.
    pub exclusive: bool,
}

impl Holder {
    /// How the names of a cluster's containers begin on a node; the task follows.
    pub const CONTAINER_PREFIX: &str = "vfioctl-";
    /// How the names of a cluster's machines begin on a node; the task follows.
    pub const MACHINE_PREFIX: &str = "vps-";

    /// The task of a cluster that this is, by its name.
    pub fn task(&self) -> Option<TaskId> {
        let prefix = match self.kind {
            HolderKind::Person => return None,
            HolderKind::Machine => Self::MACHINE_PREFIX,
            HolderKind::Container => Self::CONTAINER_PREFIX,
        };
        self.name
            .strip_prefix(prefix)?
            .split('-')
            .next()?
            .parse()
            .ok()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |f: &mut fmt::Formatter<'_>| match &self.user {
            Some(user) => write!(f, " of {user}"),
            None => Ok(()),
        };
        match self.kind {
            HolderKind::Person => write!(f, "user '{}' of the node", self.name),
            HolderKind::Machine => write!(f, "machine '{}'", self.name).and_then(|()| of(f)),
            HolderKind::Container => write!(f, "container '{}'", self.name).and_then(|()| of(f)),
        }
    }
}

/// What kind of holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum HolderKind {
    /// A user of the node, by hand.
    Person,
    /// A virtual machine.
    Machine,
    /// A container.
    Container,
}

/// A GPU of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gpu {
    /// Its number on the node.
    pub number: GpuNumber,
    /// Whether it is there now; a number stays with the place where its GPU was.
    pub present: bool,
    /// Its PCI address: `0000:01:00.0`.
    pub address: String,
    /// Where it sits, bridge by bridge, whatever buses are called: `pci0000:00/04.0/00.0`.
    pub path: String,
    /// Who makes it.
    pub vendor: Vendor,
    /// Vendor and device ID: `10de:2684`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What its maker's driver calls it, while that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its memory in MiB, where the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// The driver that is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// NUMA node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa: Option<u32>,
    /// IOMMU group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iommu_group: Option<u32>,
    /// The functions that go with it into a machine: its slot, and what shares their groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// GPUs that cannot be kept apart from it: in a machine, they go together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<GpuNumber>,
    /// Whether it can be given to a machine now.
    pub vfio: Capability,
    /// Whether containers can have it now.
    pub containers: Capability,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

/// How a GPU fares. What its driver does not tell is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GpuTelemetry {
    /// Its number on the node.
    pub number: GpuNumber,
    /// How busy it is, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation_percent: Option<u32>,
    /// Memory in use, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_mib: Option<u64>,
    /// Temperature in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<i32>,
    /// Power draw in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<u32>,
    /// Power limit in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_w: Option<u32>,
}

/// A GPU, as it is named in a cluster: `node::2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GpuName<'a> {
    pub(crate) node: &'a NodeName,
    pub(crate) number: GpuNumber,
}

impl fmt::Display for GpuName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.node, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        assert_eq!("12".parse(), Ok(GpuNumber(12)));
        for text in ["", "+1", "-1", " 1", "1x", "65536", "000001"] {
            assert_eq!(text.parse::<GpuNumber>(), Err(InvalidGpuNumber), "{text:?}");
        }
    }
}
