//! Tasks: work, as a host keeps it, from its submission to its end.

use serde::{Deserialize, Serialize};

use crate::{GpuNumber, Moment, NodeName, Submission, TaskId, UserName};

/// Work, as a host keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// Who asked for it.
    pub owner: UserName,
    /// What was asked for.
    pub submission: Submission,
    /// Where it is in its life.
    pub state: TaskState,
    /// Why it is where it is: what it waits for, why it failed. A sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How it goes on just now, while it starts: a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Its node, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Its GPUs on that node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuNumber>,
    /// How often it was started: a server that was stopped and started again has the second run.
    #[serde(default)]
    pub run: u32,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// How it is reached by SSH, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshAccess>,
    /// When it was submitted.
    pub submitted: Moment,
    /// When it was given to a node, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<Moment>,
    /// When it began to run, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Moment>,
    /// When it ended, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
}

/// Where a task is in its life.
///
/// ```text
/// queued ─> assigned ─> starting ─> running ─> completed | failed | out_of_memory | killed
///    ^         │            │          │
///    └─────────┘            └────┬─────┘─────> stopping ─> stopped ─> (start) assigned
///   (its node is gone,           v
///    nothing was begun)   lost (its node is gone) ─> whatever the node says when it is back
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TaskState {
    /// It waits for room.
    Queued,
    /// A node has been chosen; its runner has not taken it up yet.
    Assigned,
    /// The runner has taken it up, and nobody else ever will.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// A server that was stopped; what it wrote is kept.
    Stopped,
    /// It ended, with status 0.
    Completed,
    /// It ended with another status, or could not be started.
    Failed,
    /// The kernel ended it, since it used more memory than it was given.
    OutOfMemory,
    /// Somebody ended it.
    Killed,
    /// Its node is gone, and nobody knows whether it still runs there.
    Lost,
}

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::Assigned,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
        Self::Completed,
        Self::Failed,
        Self::OutOfMemory,
        Self::Killed,
        Self::Lost,
    ];

    /// Whether nothing will come of it any more by itself.
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::Stopped | Self::Completed | Self::Failed | Self::OutOfMemory | Self::Killed
        )
    }

    /// Whether it holds room and GPUs on its node.
    pub fn holds_room(self) -> bool {
        matches!(
            self,
            Self::Assigned | Self::Starting | Self::Running | Self::Stopping | Self::Lost
        )
    }

    /// Its name: `out_of_memory`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Assigned => "assigned",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::OutOfMemory => "out_of_memory",
            Self::Killed => "killed",
            Self::Lost => "lost",
        }
    }
}

impl std::str::FromStr for TaskState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let state = Self::ALL.into_iter().find(|state| state.name() == text);
        state.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|state| state.name()).collect();
            format!("a state is one of {}", names.join(", "))
        })
    }
}

impl std::fmt::Display for TaskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Exit {
    /// Its exit status, as a shell shows it: 128 + n after signal n.
    pub status: i64,
    /// Whether the kernel ended it for want of memory.
    #[serde(default)]
    pub out_of_memory: bool,
}

/// How a server is reached by SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SshAccess {
    /// Address of the node.
    pub address: String,
    /// TCP port there.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// The server's public key, in OpenSSH's form, so that nobody can pose as it.
    pub host_key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_holds_no_room() {
        for state in TaskState::ALL {
            assert!(!(state.is_over() && state.holds_room()), "{state}");
            assert_eq!(state.name().parse(), Ok(state));
            assert_eq!(
                serde_json::to_string(&state).unwrap(),
                format!("\"{state}\"")
            );
        }
        assert!(!TaskState::Queued.holds_room());
    }
}
