//! A journal that outlives its runner, on a disk that may be full.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use vfioctl_api::{NodeName, TaskId};
use vfioctl_runner::journal::{Journal, JournalError, Saved};

use crate::truth::Truth;

/// A journal that outlives its runner. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedJournal {
    saved: Arc<Mutex<BTreeMap<TaskId, Saved>>>,
    truth: Truth,
    node: NodeName,
}

impl SimulatedJournal {
    pub(crate) fn new(truth: &Truth, node: &NodeName) -> Self {
        Self {
            saved: Arc::default(),
            truth: truth.clone(),
            node: node.clone(),
        }
    }
}

#[async_trait]
impl Journal for SimulatedJournal {
    async fn save(&self, saved: &Saved) -> Result<(), JournalError> {
        // The disk takes its time, and whoever is killed meanwhile has written, or has not.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        if self.truth.lock().node(&self.node).is_full {
            return Err(JournalError("no space left on device (simulated)".into()));
        }
        let mut all = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(saved.order.task.clone(), saved.clone());
        Ok(())
    }

    async fn forget(&self, task: &TaskId) -> Result<(), JournalError> {
        self.saved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(task);
        Ok(())
    }

    async fn read(&self) -> Result<Vec<Saved>, JournalError> {
        Ok(self
            .saved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect())
    }
}
