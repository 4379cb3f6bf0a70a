//! Records: a task as hosts keep it, with what its users need not see.

use serde::{Deserialize, Serialize};
use vfioctl_api::{Moment, Submission, Task, TaskId, TaskState, UserName, Wanted};

/// A task, as hosts keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is shown.
    pub task: Task,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// The runner that has taken it up: one start of one program. Only that one may begin it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// Not to be tried again before, after a node could not start it.
    #[serde(default)]
    pub not_before: Moment,
    /// How often a node could not start it.
    #[serde(default)]
    pub failed_starts: u32,
}

impl Record {
    /// A task that has just been submitted.
    pub fn new(id: TaskId, owner: UserName, submission: Submission, now: Moment) -> Self {
        Self {
            task: Task {
                id,
                owner,
                submission,
                state: TaskState::Queued,
                reason: None,
                progress: None,
                node: None,
                gpus: Vec::new(),
                run: 0,
                exit: None,
                ssh: None,
                submitted: now,
                assigned: None,
                started: None,
                ended: None,
            },
            wanted: Wanted::Run,
            runner: None,
            not_before: 0,
            failed_starts: 0,
        }
    }

    /// Where it is in its life.
    pub fn state(&self) -> TaskState {
        self.task.state
    }
}
