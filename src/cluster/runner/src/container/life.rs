//! The life of a run after its start: how it goes on, how it ends, and what is found of it by a runner
//! that came later.

use std::time::Duration;

use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveImageOptions, StopContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use vfioctl_api::{Kind, Order};

use super::Containers;
use super::claim::PREFIX;
use super::engine::{EngineError, limited, limited_if_there};
use super::folder::Note;
use super::start::kept_image;
use super::state::{Doing, doing, was_started};
use crate::limits::{ENGINE_WORK_TIME, LOG_BEAT, STOP_GRACE};
use crate::world::{Found, Running, Unknown};

/// Labels of this project's containers.
pub(super) const RUNNER_LABEL: &str = "dev.vfioctl.runner";

pub(super) const TASK_LABEL: &str = "dev.vfioctl.task";

/// The name of a run's container. A server has one for all its runs: what it wrote is in there.
pub(super) fn container_name(order: &Order) -> String {
    match order.submission.kind {
        Kind::Command => format!("{PREFIX}{}-{}", order.task, order.run),
        Kind::Vps => format!("{PREFIX}{}", order.task),
    }
}

fn unknown(error: impl std::fmt::Display) -> Unknown {
    Unknown(error.to_string())
}

impl Containers {
    /// Tells the containers of this runner from those of others.
    pub(super) fn runner_mark(&self) -> String {
        let folder =
            std::fs::canonicalize(&self.parts.data).unwrap_or_else(|_| self.parts.data.clone());
        crate::digest::hex_digest(folder.to_string_lossy().as_bytes())
            .chars()
            .take(16)
            .collect()
    }

    pub(super) fn read_note(&self, order: &Order) -> Result<Option<Note>, Unknown> {
        let note = self.folder(&order.task).note();
        note.map_err(|error| Unknown(format!("the note about task '{}': {error}", order.task)))
    }

    /// The note about this run; none where there is none, or it is about another.
    pub(super) fn note_of_run(&self, order: &Order) -> Result<Option<Note>, Unknown> {
        Ok(self.read_note(order)?.filter(|note| note.run == order.run))
    }

    /// What there is of a run.
    pub(super) async fn find_run(&self, order: &Order) -> Result<Found, Unknown> {
        let note = self.note_of_run(order)?;
        if let Some(exit) = note.as_ref().and_then(|note| note.exit) {
            return Ok(Found::Ended(exit));
        }
        let name = container_name(order);
        let Some(found) = self.connector.inspect(&name).await.map_err(unknown)? else {
            return Ok(Found::Absent);
        };
        let state = found.state.clone().unwrap_or_default();
        match doing(&state) {
            // It was made ready by a runner that is gone, and its GPUs may not be what they were.
            Doing::Nothing => {
                self.remove_container(&name).await.map_err(unknown)?;
                Ok(Found::Absent)
            }
            Doing::Running => Ok(Found::Running),
            Doing::Ended => match note {
                // It ended in a run before this one.
                Some(note) if note.started_before == state.started_at => Ok(Found::Absent),
                None if order.submission.kind == Kind::Vps => Ok(Found::Absent),
                _ => {
                    self.finish_log(order).await;
                    Ok(Found::Ended(self.exit(&name, &state).await))
                }
            },
        }
    }

    /// Waits for the end of a run.
    pub(super) async fn wait_for_run(
        &self,
        order: &Order,
        running: &Running,
    ) -> Result<Found, Unknown> {
        let name = container_name(order);
        loop {
            let Some(found) = self.connector.inspect(&name).await.map_err(unknown)? else {
                self.forget(order);
                return Ok(Found::Absent);
            };
            let state = found.state.unwrap_or_default();
            if doing(&state) != Doing::Running {
                break;
            }
            self.follow(order);
            let (ssh, trouble) = match self.ensure_door(order).await {
                Ok(ssh) => (ssh, None),
                Err(reason) => (
                    None,
                    Some(format!("it cannot be reached by SSH yet: {reason}")),
                ),
            };
            let is_troubled = trouble.is_some();
            running.tell(trouble, ssh);
            self.wait_for_end(&name, is_troubled)
                .await
                .map_err(unknown)?;
        }
        self.close_door(order);
        self.finish_log(order).await;
        self.find_run(order).await
    }

    /// Waits until a container may have ended.
    async fn wait_for_end(&self, name: &str, is_troubled: bool) -> Result<(), EngineError> {
        /// What is waited for is looked at now and then all the same: an engine may forget who waits.
        const AT_LEAST: Duration = Duration::from_secs(60);
        let limit = if is_troubled {
            crate::limits::ASK_AGAIN
        } else {
            AT_LEAST
        };
        let engine = self.connector.client().await?;
        let mut ends = Box::pin(engine.wait_container(name, None));
        match tokio::time::timeout(limit, ends.next()).await {
            // The client takes a status above 0 for an error.
            Ok(Some(Ok(_)) | None) | Err(_) => {}
            Ok(Some(Err(error))) => match EngineError::from(error) {
                EngineError::Unreachable(reason) => return Err(EngineError::Unreachable(reason)),
                EngineError::Refused { .. } => {}
            },
        }
        Ok(())
    }

    /// Ends a run; it is over when this returns.
    pub(super) async fn end_run(&self, order: &Order, at_once: bool) -> Result<(), Unknown> {
        let name = container_name(order);
        self.try_end(&name, at_once).await.map_err(unknown)?;
        self.close_door(order);
        if self.note_of_run(order)?.is_some() {
            self.finish_log(order).await;
        }
        Ok(())
    }

    async fn try_end(&self, name: &str, at_once: bool) -> Result<(), EngineError> {
        let engine = self.connector.client().await?;
        let is_running = async || {
            let found = self.connector.inspect(name).await?;
            let state = found.and_then(|found| found.state);
            Ok::<bool, EngineError>(state.is_some_and(|state| doing(&state) == Doing::Running))
        };
        if !is_running().await? {
            return Ok(());
        }
        let asked = match at_once {
            true => {
                let options = KillContainerOptionsBuilder::default()
                    .signal("SIGKILL")
                    .build();
                limited(ENGINE_WORK_TIME, engine.kill_container(name, Some(options))).await
            }
            false => {
                let grace = i32::try_from(STOP_GRACE.as_secs()).unwrap_or(i32::MAX);
                let options = StopContainerOptionsBuilder::default().t(grace).build();
                limited(ENGINE_WORK_TIME, engine.stop_container(name, Some(options))).await
            }
        };
        // It may have ended by itself just before.
        if let Err(error) = asked
            && is_running().await?
        {
            return Err(error);
        }
        let over = async {
            while is_running().await? {
                tokio::time::sleep(LOG_BEAT).await;
            }
            Ok(())
        };
        match tokio::time::timeout(ENGINE_WORK_TIME, over).await {
            Ok(over) => over,
            Err(_) => Err(EngineError::Unreachable(format!(
                "container '{name}' does not end"
            ))),
        }
    }

    /// Gives back what a run held that is over, and keeps how it ended.
    pub(super) async fn settle_run(&self, order: &Order) -> Result<(), Unknown> {
        let folder = self.folder(&order.task);
        let name = container_name(order);
        // Where there is no folder, nothing was begun with it.
        if folder.exists() {
            if let Some(note) = self.note_of_run(order)?.filter(|note| note.exit.is_none())
                && let Found::Ended(exit) = self.find_run(order).await?
            {
                folder
                    .write_note(&Note {
                        exit: Some(exit),
                        ..note
                    })
                    .map_err(unknown)?;
            }
            self.undo(order, &name).await?;
            let note = self.read_note(order)?.unwrap_or_default();
            let note = match note.run == order.run {
                true => note,
                // It never began; what is written here is about the run before.
                false if note.run == 0 => Note {
                    run: order.run,
                    ..Note::default()
                },
                false => note,
            };
            folder
                .write_note(&Note {
                    is_settled: true,
                    ..note
                })
                .map_err(unknown)?;
        }
        self.forget(order);
        self.own().remove(&name);
        Ok(())
    }

    /// Removes the container of a run, unless a server wrote into it, and ends its claim.
    pub(super) async fn undo(&self, order: &Order, name: &str) -> Result<(), Unknown> {
        if let Some(found) = self.connector.inspect(name).await.map_err(unknown)? {
            let is_of_server = order.submission.kind == Kind::Vps;
            let was_used = found.state.as_ref().is_some_and(was_started);
            match is_of_server && was_used {
                // Whatever is still running in it shall not go on without a claim.
                true => self.try_end(name, true).await.map_err(unknown)?,
                false => self.remove_container(name).await.map_err(unknown)?,
            }
        }
        if !order.gpus.is_empty() {
            self.helper.end(name).await.map_err(Unknown)?;
        }
        Ok(())
    }

    /// Removes all that is left of a task.
    pub(super) async fn remove_task(&self, order: &Order) -> Result<(), Unknown> {
        let folder = self.folder(&order.task);
        if folder.exists() {
            let name = container_name(order);
            self.remove_container(&name).await.map_err(unknown)?;
            if order.submission.kind == Kind::Vps {
                let engine = self.connector.client().await.map_err(unknown)?;
                let kept = kept_image(order);
                let removed = engine.remove_image(&kept, None::<RemoveImageOptions>, None);
                limited_if_there(ENGINE_WORK_TIME, removed)
                    .await
                    .map_err(unknown)?;
            }
            if !order.gpus.is_empty() {
                self.helper.end(&name).await.map_err(Unknown)?;
            }
            folder.remove().map_err(|error| {
                Unknown(format!("the folder of task '{}': {error}", order.task))
            })?;
        }
        self.forget(order);
        Ok(())
    }
}
