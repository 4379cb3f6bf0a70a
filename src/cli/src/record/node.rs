//! Records of the nodes of a cluster.

use std::collections::BTreeMap;

use serde::Serialize;
use vfioctl_api::{JoinToken, NodeReport, NodeState, NodeView, Summary, Telemetry};

use super::gpu::{CapabilityRecord, GpuRecord};
use super::task::seconds;

/// The answers of `vfioctl node`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum NodesRecord {
    /// `node status`, `drain`, `resume`, `watch`.
    One {
        /// The node.
        node: Box<NodeRecord>,
        /// How it is laid out for people.
        #[serde(skip)]
        layout: NodeLayout,
    },
    /// `node list`, `health`.
    Many {
        /// The nodes.
        nodes: Vec<NodeRecord>,
        /// How they are laid out for people.
        #[serde(skip)]
        layout: NodeLayout,
    },
    /// `node summary`.
    Summary {
        /// The whole cluster in numbers.
        summary: SummaryRecord,
    },
    /// `node invite`.
    Invitation {
        /// How a node joins.
        invitation: InvitationRecord,
    },
    /// `node rm`.
    Removed {
        /// Name of the node that is removed.
        removed: String,
    },
}

/// How nodes are laid out for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeLayout {
    /// What they have, and what is taken of it.
    Room,
    /// How they fare.
    Health,
    /// Only whether something new is placed there.
    Drained,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NodeRecord {
    /// Its name.
    pub(crate) name: String,
    /// `online`, `offline` or `expected`.
    pub(crate) state: &'static str,
    /// Whether nothing new is placed on it.
    pub(crate) drained: bool,
    /// When it was heard of last, in seconds since 1970.
    pub(crate) heard: Option<u64>,
    /// Processors that tasks hold.
    pub(crate) cores_taken: u32,
    /// Memory that tasks hold.
    pub(crate) memory_taken_mib: u64,
    /// Numbers of the tasks that hold room on it.
    pub(crate) tasks: Vec<String>,
    /// Its GPUs.
    pub(crate) gpus: Vec<GpuRecord>,
    /// What it is; null where it has never come.
    pub(crate) report: Option<ReportRecord>,
    /// How it fares; null where it is away.
    pub(crate) telemetry: Option<TelemetryRecord>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReportRecord {
    /// Tells its machine from others.
    pub(crate) machine: String,
    /// Tells its boot from others.
    pub(crate) boot: String,
    /// Address that its servers are reached at.
    pub(crate) address: String,
    /// Processors.
    pub(crate) cores: u32,
    /// Memory.
    pub(crate) memory_mib: u64,
    /// NUMA nodes, where there is more than one.
    pub(crate) numa: Vec<NumaRecord>,
    /// Whether it runs containers.
    pub(crate) containers: CapabilityRecord,
    /// Whether it runs machines.
    pub(crate) machines: CapabilityRecord,
    /// Base images that it has.
    pub(crate) images: Vec<NodeImageRecord>,
    /// The image that machines get where none is named.
    pub(crate) default_image: Option<String>,
    /// Memory that machines get where none is named.
    pub(crate) default_machine_memory_mib: u64,
    /// What runs there.
    pub(crate) versions: VersionsRecord,
    /// What is not well there, as sentences.
    pub(crate) problems: Vec<String>,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NumaRecord {
    /// Its number.
    pub(crate) number: u32,
    /// Its processors, as the kernel lists them.
    pub(crate) processors: String,
    /// How many those are.
    pub(crate) cores: u32,
    /// Its memory.
    pub(crate) memory_mib: u64,
}

/// A base image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NodeImageRecord {
    /// Its name.
    pub(crate) name: String,
    /// Size that a machine sees.
    pub(crate) virtual_bytes: u64,
    /// Size on the node's disk.
    pub(crate) bytes: u64,
}

/// What runs on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct VersionsRecord {
    /// The runner.
    pub(crate) runner: String,
    /// The helper.
    pub(crate) helper: Option<String>,
    /// The kernel.
    pub(crate) kernel: String,
    /// The distribution.
    pub(crate) system: String,
    /// QEMU.
    pub(crate) qemu: Option<String>,
    /// The container engine.
    pub(crate) engine: Option<EngineRecord>,
    /// The driver of NVIDIA.
    pub(crate) nvidia: Option<String>,
}

/// A container engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EngineRecord {
    /// `docker` or `podman`.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// How GPUs of NVIDIA get into its containers.
    pub(crate) nvidia: Option<String>,
}

/// How a node fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TelemetryRecord {
    /// When that was, by the node's clock, in seconds since 1970.
    pub(crate) at: u64,
    /// How busy its processors are.
    pub(crate) processor_percent: u32,
    /// Memory in use.
    pub(crate) memory_used_mib: u64,
    /// Free room where machines and logs are kept.
    pub(crate) disk_free_mib: u64,
}

/// The whole cluster in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SummaryRecord {
    /// Nodes.
    pub(crate) nodes: u32,
    /// Nodes that are there.
    pub(crate) nodes_online: u32,
    /// Processors of those.
    pub(crate) cores: u32,
    /// Processors that tasks hold.
    pub(crate) cores_taken: u32,
    /// Memory of those.
    pub(crate) memory_mib: u64,
    /// Memory that tasks hold.
    pub(crate) memory_taken_mib: u64,
    /// GPUs of those.
    pub(crate) gpus: u32,
    /// GPUs that nothing has.
    pub(crate) gpus_free: u32,
    /// GPUs that containers have.
    pub(crate) gpus_in_containers: u32,
    /// GPUs that machines have.
    pub(crate) gpus_in_machines: u32,
    /// Tasks by state.
    pub(crate) tasks: BTreeMap<String, u32>,
}

/// How a node joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct InvitationRecord {
    /// The node.
    pub(crate) node: String,
    /// The host that it joins.
    pub(crate) host: String,
    /// The token, once.
    pub(crate) token: String,
    /// When it ends to be one, in seconds since 1970.
    pub(crate) expires: u64,
    /// What is to be run on the node.
    pub(crate) command: String,
}

impl NodesRecord {
    /// One node.
    pub(crate) fn one(view: NodeView, layout: NodeLayout) -> Self {
        Self::One {
            node: Box::new(view.into()),
            layout,
        }
    }

    /// Several.
    pub(crate) fn many(views: Vec<NodeView>, layout: NodeLayout) -> Self {
        Self::Many {
            nodes: views.into_iter().map(NodeRecord::from).collect(),
            layout,
        }
    }
}

impl From<NodeView> for NodeRecord {
    fn from(view: NodeView) -> Self {
        let is_online = view.state == NodeState::Online;
        let gpus = view
            .gpus
            .into_iter()
            .map(|gpu| GpuRecord::of(gpu, is_online));
        Self {
            name: view.name.into(),
            state: view.state.name(),
            drained: view.drained,
            heard: view.heard.map(seconds),
            cores_taken: view.cores_taken,
            memory_taken_mib: view.memory_taken.mib(),
            tasks: view.tasks.into_iter().map(String::from).collect(),
            gpus: gpus.collect(),
            report: view.report.map(ReportRecord::from),
            telemetry: view.telemetry.map(TelemetryRecord::from),
        }
    }
}

impl From<NodeReport> for ReportRecord {
    fn from(report: NodeReport) -> Self {
        let versions = report.versions;
        Self {
            machine: report.machine,
            boot: report.boot,
            address: report.address,
            cores: report.cores,
            memory_mib: report.memory.mib(),
            numa: report
                .numa
                .into_iter()
                .map(|numa| NumaRecord {
                    number: numa.number,
                    processors: numa.processors,
                    cores: numa.cores,
                    memory_mib: numa.memory.mib(),
                })
                .collect(),
            containers: report.containers.into(),
            machines: report.machines.into(),
            images: report
                .images
                .into_iter()
                .map(|image| NodeImageRecord {
                    name: image.name.into(),
                    virtual_bytes: image.virtual_bytes,
                    bytes: image.bytes,
                })
                .collect(),
            default_image: report.default_image.map(String::from),
            default_machine_memory_mib: report.default_machine_memory.mib(),
            versions: VersionsRecord {
                runner: versions.runner,
                helper: versions.helper,
                kernel: versions.kernel,
                system: versions.system,
                qemu: versions.qemu,
                engine: versions.engine.map(|engine| EngineRecord {
                    name: engine.name,
                    version: engine.version,
                    nvidia: engine.nvidia,
                }),
                nvidia: versions.nvidia,
            },
            problems: report.problems,
        }
    }
}

impl From<Telemetry> for TelemetryRecord {
    fn from(telemetry: Telemetry) -> Self {
        Self {
            at: seconds(telemetry.at),
            processor_percent: telemetry.processor_percent,
            memory_used_mib: telemetry.memory_used_mib,
            disk_free_mib: telemetry.disk_free_mib,
        }
    }
}

impl From<Summary> for SummaryRecord {
    fn from(summary: Summary) -> Self {
        Self {
            nodes: summary.nodes,
            nodes_online: summary.nodes_online,
            cores: summary.cores,
            cores_taken: summary.cores_taken,
            memory_mib: summary.memory.mib(),
            memory_taken_mib: summary.memory_taken.mib(),
            gpus: summary.gpus,
            gpus_free: summary.gpus_free,
            gpus_in_containers: summary.gpus_in_containers,
            gpus_in_machines: summary.gpus_in_machines,
            tasks: summary.tasks,
        }
    }
}

impl InvitationRecord {
    /// How a node joins a host.
    pub(crate) fn of(token: JoinToken, host: String) -> Self {
        Self {
            // By a pipe: other users of the node can see what stands on a command line.
            command: format!("echo {} | sudo vfioctl-runner join {host}", token.token),
            node: token.node.into(),
            host,
            token: token.token,
            expires: seconds(token.expires),
        }
    }
}
