//! The journal: what a runner must not forget. It is on disk before anything is done.

mod folder;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use vfioctl_api::{Moment, Order, Phase, TaskId};

pub use folder::FolderJournal;

/// A task, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// What was ordered last.
    pub order: Order,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a task has come. Each stage is on disk before what it names is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The host will be asked for it. Nothing has been done.
    Intended,
    /// The host has given it to this runner for good. Nothing has been done.
    Accepted,
    /// It is made ready. It has not begun.
    Preparing,
    /// It begins, or has begun.
    Begun,
    /// It is over.
    Over {
        /// How it ended.
        phase: Phase,
        /// When.
        at: Moment,
        /// Whether a host knows.
        told: bool,
    },
}

/// What a runner must not forget.
#[async_trait]
pub trait Journal: Send + Sync + fmt::Debug {
    /// Writes a task down; it is on disk when this returns.
    ///
    /// # Errors
    /// Where it cannot be written. Then what it would say must not be done.
    async fn save(&self, saved: &Saved) -> Result<(), JournalError>;

    /// Forgets a task.
    ///
    /// # Errors
    /// Where it cannot.
    async fn forget(&self, task: &TaskId) -> Result<(), JournalError>;

    /// All that is written down.
    ///
    /// # Errors
    /// Where it cannot be read.
    async fn read(&self) -> Result<Vec<Saved>, JournalError>;
}

/// The journal could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalError(pub String);

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JournalError {}
