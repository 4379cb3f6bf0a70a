//! Nodes: what a runner reports of its machine.

use serde::{Deserialize, Serialize};

use crate::{Capability, Gpu, GpuTelemetry, ImageName, MemorySize, Moment};

/// What a node is: the full picture, told when a runner registers and whenever it has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeReport {
    /// `/etc/machine-id`, hashed with this project's name, so that the id itself stays at home
    /// (`machine-id(5)`).
    pub machine: String,
    /// The boot: `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// What runs there.
    pub versions: Versions,
    /// Address that its servers are reached at.
    pub address: String,
    /// Processors.
    pub cores: u32,
    /// Memory.
    pub memory: MemorySize,
    /// NUMA nodes, where there is more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numa: Vec<NumaNode>,
    /// GPUs, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Gpu>,
    /// Whether it can run containers.
    pub containers: Capability,
    /// Whether it can run machines.
    pub machines: Capability,
    /// Base images that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<VmImage>,
    /// The image that machines get where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_image: Option<ImageName>,
    /// Memory that machines get where none is named.
    pub default_machine_memory: MemorySize,
    /// What is not well there, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What runs on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Versions {
    /// The runner.
    pub runner: String,
    /// The helper, where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<String>,
    /// The kernel.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// QEMU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu: Option<String>,
    /// The container engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// The host's driver of NVIDIA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvidia: Option<String>,
}

/// A container engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Engine {
    /// `docker` or `podman`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How GPUs of NVIDIA get into its containers: `runtime`, `cdi`, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvidia: Option<String>,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NumaNode {
    /// Its number.
    pub number: u32,
    /// Its processors, as the kernel lists them: `0-7,16-23`.
    pub processors: String,
    /// How many those are.
    pub cores: u32,
    /// Its memory.
    pub memory: MemorySize,
}

/// A base image for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VmImage {
    /// Its name.
    pub name: ImageName,
    /// Size that a machine sees, in bytes.
    pub virtual_bytes: u64,
    /// Size on the node's disk, in bytes.
    pub bytes: u64,
}

/// How a node fares.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Telemetry {
    /// When it was taken, by the node's clock.
    pub at: Moment,
    /// How busy its processors are, in percent of all.
    pub processor_percent: u32,
    /// Memory in use, in MiB.
    pub memory_used_mib: u64,
    /// Free room where machines and logs are kept, in MiB.
    pub disk_free_mib: u64,
    /// GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuTelemetry>,
}
