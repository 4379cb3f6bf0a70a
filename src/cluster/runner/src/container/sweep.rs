//! Sweeping: what a runner that was killed has left and nobody asks for any more.
//!
//! Tasks that the journal knows are found by their workers. What is left beside them are containers of
//! tasks that were forgotten, and claims of containers that are no longer there.

use std::collections::BTreeSet;

use bollard::query_parameters::RemoveContainerOptionsBuilder;

use super::Containers;
use super::engine::{EngineError, limited};
use super::life::{RUNNER_LABEL, TASK_LABEL};
use super::request::Listed;
use crate::limits::ENGINE_WORK_TIME;

impl Containers {
    /// Removes what nobody asks for, once a start of the runner; tells what is not well, as sentences.
    pub(super) async fn sweep_once(&self) -> Vec<String> {
        let mut swept = self.swept.lock().await;
        if let Some(left) = &*swept {
            return left.clone();
        }
        match self.sweep().await {
            Ok(left) => swept.insert(left).clone(),
            // Tried again with the next look.
            Err(reason) => vec![format!(
                "what an earlier runner left could not be looked for: {reason}"
            )],
        }
    }

    async fn sweep(&self) -> Result<Vec<String>, String> {
        let mut left = Vec::new();
        let listed = self.list_own().await.map_err(|error| error.to_string())?;
        let mut names = BTreeSet::new();
        for container in listed {
            let name = container.name;
            let task = container
                .labels
                .get(TASK_LABEL)
                .and_then(|task| task.parse().ok());
            let is_known = task.is_some_and(|task| self.parts.known.contains(&task));
            let is_running = container.state == "running";
            if is_known || self.own().contains(&name) {
                names.insert(name);
            } else if is_running {
                left.push(format!(
                    "container '{name}' runs and is of no task that this runner knows"
                ));
                names.insert(name);
            } else if let Err(error) = self.remove_container(&name).await {
                left.push(format!(
                    "container '{name}' is of no task and cannot be removed: {error}"
                ));
                names.insert(name);
            } else {
                crate::log::info(&format!(
                    "container '{name}' was of no task and has been removed"
                ));
            }
        }
        left.extend(self.sweep_claims(&names).await?);
        Ok(left)
    }

    /// Ends the claims of containers that are not there.
    async fn sweep_claims(&self, there: &BTreeSet<String>) -> Result<Vec<String>, String> {
        let mut left = Vec::new();
        for name in self.helper.list().await?.difference(there) {
            // Another runner of this user may have made it.
            if self.own().contains(name) || self.is_there(name).await? {
                continue;
            }
            match self.helper.end(name).await {
                Ok(()) => crate::log::info(&format!(
                    "container '{name}' is not there any more; its claim has ended"
                )),
                Err(error) => left.push(error),
            }
        }
        Ok(left)
    }

    async fn is_there(&self, name: &str) -> Result<bool, String> {
        let found = self.connector.inspect(name).await;
        found
            .map(|found| found.is_some())
            .map_err(|error| error.to_string())
    }

    async fn list_own(&self) -> Result<Vec<Listed>, EngineError> {
        self.connector.list(RUNNER_LABEL, &self.runner_mark()).await
    }

    /// Removes a container, whatever it does; one that is not there is removed.
    pub(super) async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        let engine = self.connector.client().await?;
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match limited(
            ENGINE_WORK_TIME,
            engine.remove_container(name, Some(options)),
        )
        .await
        {
            Err(error) if !error.is_absent() => {
                // Removed by somebody else at this very moment.
                let is_going = error.is_conflict();
                if is_going {
                    self.wait_until_gone(name).await
                } else {
                    Err(error)
                }
            }
            _ => Ok(()),
        }
    }

    async fn wait_until_gone(&self, name: &str) -> Result<(), EngineError> {
        let gone = async {
            loop {
                let found = self.connector.inspect(name).await?;
                if found.is_none() {
                    return Ok(());
                }
                tokio::time::sleep(crate::limits::LOG_BEAT).await;
            }
        };
        match tokio::time::timeout(ENGINE_WORK_TIME, gone).await {
            Ok(gone) => gone,
            Err(_) => Err(EngineError::Unreachable(format!("'{name}' does not go"))),
        }
    }
}
