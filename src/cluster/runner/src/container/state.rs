//! What a container is doing, and how it ended.

use bollard::models::{ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use vfioctl_api::Exit;

use super::Containers;
use crate::limits::ENGINE_TIME;

/// Exit status of a process that SIGKILL ended, as a shell shows it.
const KILLED: i64 = 128 + 9;

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It was made and has never been started.
    Nothing,
    Running,
    Ended,
}

pub(super) fn doing(state: &ContainerState) -> Doing {
    use ContainerStateStatusEnum as Status;
    match state.status {
        Some(Status::CREATED) => Doing::Nothing,
        Some(
            Status::RUNNING
            | Status::PAUSED
            | Status::RESTARTING
            | Status::REMOVING
            | Status::STOPPING,
        ) => {
            if state.running == Some(false) {
                Doing::Ended
            } else {
                Doing::Running
            }
        }
        _ if state.running == Some(true) => Doing::Running,
        // Podman calls one that was made 'initialized' or 'configured'.
        _ if !was_started(state) => Doing::Nothing,
        _ => Doing::Ended,
    }
}

/// Whether a container was ever started: engines show the first year otherwise.
pub(super) fn was_started(state: &ContainerState) -> bool {
    state
        .started_at
        .as_deref()
        .is_some_and(|time| !time.is_empty() && !time.starts_with("0001-"))
}

impl Containers {
    /// How a container ended.
    pub(super) async fn exit(&self, name: &str, state: &ContainerState) -> Exit {
        let status = state.exit_code.unwrap_or_default();
        let out_of_memory = status != 0
            && (state.oom_killed == Some(true)
                || status == KILLED && self.was_out_of_memory(name, state).await);
        Exit {
            status,
            out_of_memory,
        }
    }

    /// Whether the engine told that the kernel ended something in a container for want of memory: with the
    /// second version of cgroups, Docker's flag is not always set when its first process is what ended.
    async fn was_out_of_memory(&self, name: &str, state: &ContainerState) -> bool {
        let (Some(since), Some(until)) = (&state.started_at, &state.finished_at) else {
            return false;
        };
        let filters = [("type", "container"), ("event", "oom"), ("container", name)];
        let filters = filters.map(|(name, value)| (name, vec![value])).into();
        let options = EventsOptionsBuilder::default()
            .since(since)
            .until(until)
            .filters(&filters)
            .build();
        let Ok(engine) = self.connector.client().await else {
            return false;
        };
        let mut events = Box::pin(engine.events(Some(options)));
        let first = tokio::time::timeout(ENGINE_TIME, events.next()).await;
        matches!(first, Ok(Some(Ok(_))))
    }
}
