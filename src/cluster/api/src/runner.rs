//! What a runner and a host say to each other.
//!
//! A runner registers with the full picture of its node and gets a lease. Then there is one
//! exchange, over and over: the runner tells what has changed, and the host answers with the orders
//! that the runner has not seen yet; when it has none, it keeps the runner waiting for a while. So an
//! exchange is heartbeat, report and delivery in one, and a node needs no open port.
//!
//! Nothing here relies on a message arriving once: orders and statuses are what *is*, with the
//! revision or run that they are about, and can be told again.

use serde::{Deserialize, Serialize};

use crate::{
    Exit, GpuNumber, Moment, NodeReport, Revision, SshAccess, Submission, TaskId, Telemetry,
    UserName,
};

/// A runner presents itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Register {
    /// Made anew each time the runner starts.
    pub incarnation: String,
    /// The full picture of its node.
    pub report: NodeReport,
    /// Every task that it has anything of.
    pub tasks: Vec<TaskStatus>,
}

/// A runner has been registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registered {
    /// Names this registration in every later exchange.
    pub session: String,
    /// How long the node counts as there after an exchange, in milliseconds.
    pub lease_ms: u64,
    /// How often the runner shall come, in milliseconds.
    pub heartbeat_ms: u64,
    /// The host's version.
    pub version: String,
    /// Runs that the runner told of and that are none of the cluster's any more: nothing of them shall
    /// be left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<Run>,
}

/// One exchange, the runner's side.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sync {
    /// The registration.
    pub session: String,
    /// Orders up to this revision have been seen.
    #[serde(default)]
    pub seen: Revision,
    /// Tasks that the runner would take up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<Run>,
    /// Tasks whose status has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<TaskStatus>,
    /// The full picture, where it has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<NodeReport>>,
    /// How the node fares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// How long the host may wait for orders, in milliseconds.
    #[serde(default)]
    pub wait_ms: u64,
}

/// One exchange, the host's side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncReply {
    /// The orders are those up to this revision.
    pub revision: Revision,
    /// Tasks of this node that are new or have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Order>,
    /// Runs that are the runner's now: it may begin, and nobody else ever will.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Run>,
    /// Runs that are not the runner's: it must not begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Run>,
    /// Runs that the runner told of and that are none of the cluster's any more: nothing of them shall
    /// be left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<Run>,
    /// Logs that somebody wants to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogOrder>,
}

/// One run of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Run {
    /// The task.
    pub task: TaskId,
    /// Its run.
    pub run: u32,
}

/// A task of a node, as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// The task.
    pub task: TaskId,
    /// Which run of it.
    pub run: u32,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// Who asked for it.
    pub owner: UserName,
    /// What was asked for.
    pub submission: Submission,
    /// Its GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuNumber>,
}

/// What is wanted of a run of a task. What comes later in this list replaces what comes before it, and
/// never the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Wanted {
    /// It shall run.
    Run,
    /// It shall end, and what it wrote be kept.
    Stop,
    /// It shall end at once.
    Kill,
    /// Nothing of it shall be left.
    Remove,
}

/// How a task goes on its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskStatus {
    /// The task.
    pub task: TaskId,
    /// Which run of it.
    pub run: u32,
    /// Where it is.
    pub phase: Phase,
    /// Since when, by the node's clock.
    pub at: Moment,
}

/// Where a task is on its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Phase {
    /// The runner has taken it up and begun nothing.
    Accepted,
    /// It is being started.
    Starting {
        /// What is being done, as a sentence.
        progress: String,
    },
    /// It runs.
    Running {
        /// What is still being done, as a sentence: a machine that boots.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<String>,
        /// How it is reached, once it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ssh: Option<SshAccess>,
    },
    /// It ended by itself.
    Exited(Exit),
    /// It was stopped, as was wanted; what it wrote is kept.
    Stopped,
    /// It was ended at once, as was wanted.
    Killed,
    /// It could not be started, and nothing of it is left; another try may go elsewhere.
    NotStarted {
        /// Why, as a sentence.
        reason: String,
        /// Whether another node, or a later moment, could do it.
        may_retry: bool,
    },
    /// It was there and is there no longer, and nobody knows how it ended.
    Vanished {
        /// What is known, as a sentence.
        reason: String,
    },
    /// Nothing of it is left.
    Removed,
}

impl Phase {
    /// Whether nothing more will come of this run.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Accepted | Self::Starting { .. } | Self::Running { .. } => false,
            Self::Exited(_)
            | Self::Stopped
            | Self::Killed
            | Self::NotStarted { .. }
            | Self::Vanished { .. }
            | Self::Removed => true,
        }
    }
}

/// That somebody wants to read a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogOrder {
    /// Names the stream that the runner shall send to.
    pub stream: String,
    /// The host that waits for it.
    pub host: String,
    /// The task.
    pub task: TaskId,
    /// Which of its logs.
    pub log: LogStream,
    /// From which byte on.
    pub offset: u64,
    /// Whether to go on with what is written later, until the task's end.
    pub follow: bool,
}

/// Which log of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LogStream {
    /// Standard output; of a machine, its serial console.
    #[default]
    Stdout,
    /// Standard error; of a machine, what QEMU says.
    Stderr,
}
