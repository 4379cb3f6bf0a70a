//! Views: what a host shows of nodes, GPUs and tasks.

use serde::{Deserialize, Serialize};

use crate::gpu::GpuName;
use crate::{
    Gpu, GpuTelemetry, MemorySize, Moment, NodeName, NodeReport, Revision, Task, TaskId, TaskState,
    Telemetry, UserName,
};

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeView {
    /// Its name.
    pub name: NodeName,
    /// Whether it is there.
    pub state: NodeState,
    /// Whether nothing new is placed on it.
    pub drained: bool,
    /// When it was heard of last, by the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Moment>,
    /// What it is, as it said last; absent where it has never come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<NodeReport>,
    /// How it fares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// Processors that tasks hold.
    pub cores_taken: u32,
    /// Memory that tasks hold.
    pub memory_taken: MemorySize,
    /// Tasks that hold room on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskId>,
    /// Its GPUs, with who has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuView>,
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NodeState {
    /// Its runner has come lately.
    Online,
    /// It has not.
    Offline,
    /// It may join and never has.
    Expected,
}

impl NodeState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Expected => "expected",
        }
    }
}

/// A GPU of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GpuView {
    /// Its node.
    pub node: NodeName,
    /// What it is.
    #[serde(flatten)]
    pub gpu: Gpu,
    /// How it fares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<GpuTelemetry>,
    /// The tasks that have it, or have what cannot be kept apart from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<GpuUse>,
}

impl GpuView {
    /// Its name in the cluster: `node::2`.
    pub fn cluster_name(&self) -> String {
        let (node, number) = (&self.node, self.gpu.number);
        GpuName { node, number }.to_string()
    }
}

/// That a task has a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GpuUse {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub owner: UserName,
    /// Whether it is a machine.
    pub machine: bool,
    /// Whether nobody else may have it meanwhile.
    pub exclusive: bool,
    /// Whether it is not this GPU that the task has, but one that cannot be kept apart from it.
    #[serde(default)]
    pub reserved_with: Option<crate::GpuNumber>,
}

/// The whole cluster in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Summary {
    /// Nodes.
    pub nodes: u32,
    /// Nodes that are there.
    pub nodes_online: u32,
    /// Processors of those.
    pub cores: u32,
    /// Processors that tasks hold.
    pub cores_taken: u32,
    /// Memory of those.
    pub memory: MemorySize,
    /// Memory that tasks hold.
    pub memory_taken: MemorySize,
    /// GPUs of those.
    pub gpus: u32,
    /// GPUs that nothing has.
    pub gpus_free: u32,
    /// GPUs that containers have.
    pub gpus_in_containers: u32,
    /// GPUs that machines have.
    pub gpus_in_machines: u32,
    /// Tasks by state.
    pub tasks: std::collections::BTreeMap<String, u32>,
}

/// Which tasks are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
pub struct TaskFilter {
    /// Those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
    /// Those on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Those of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserName>,
    /// Commands only, or servers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<crate::Kind>,
    /// At most so many; 50 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Those that were submitted before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<TaskId>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page {
    /// The tasks, the latest first.
    pub tasks: Vec<Task>,
    /// Whether there are more before the last one.
    pub more: bool,
}

/// A task has changed; what the stream of events carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// The task as it is now.
    pub task: Task,
}
