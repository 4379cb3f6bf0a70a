//! What a container is doing, and how it ended.

use std::time::{SystemTime, UNIX_EPOCH};

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use vfioctl_api::Exit;

use super::Containers;
use super::engine::EngineKind;
use crate::limits::{ENGINE_TIME, MAX_EVENTS};

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
    pub(super) async fn exit(&self, name: &str, found: &ContainerInspectResponse) -> Exit {
        let state = found.state.clone().unwrap_or_default();
        let status = state.exit_code.unwrap_or_default();
        let limit = found.host_config.as_ref().and_then(|host| host.memory);
        let is_limited = limit.is_some_and(|bytes| bytes > 0);
        let out_of_memory = status != 0
            && is_limited
            && (state.oom_killed == Some(true)
                || status == KILLED && self.was_out_of_memory(name, &state).await);
        Exit {
            status,
            out_of_memory,
        }
    }

    /// Whether a container with a limit that SIGKILL ended was ended by the kernel, for want of memory.
    ///
    /// The engines' own flag is not always set: who tells them of it and who tells them of the end race
    /// (containerd with both versions of cgroups, Podman's conmon with the first). Where nobody sent the
    /// signal from outside, the kernel did; a process that sends it to itself is taken for one, too.
    async fn was_out_of_memory(&self, name: &str, state: &ContainerState) -> bool {
        match self.connector.facts().await {
            Ok(facts) if facts.kind == EngineKind::Podman => facts.has_old_cgroups,
            Ok(_) => {
                let told = self.events(name, state).await;
                let has = |action: &str| told.iter().any(|told| told == action);
                // An engine that was restarted has killed it, and knows nothing of what was before.
                has("oom") || has("start") && !has("kill")
            }
            Err(_) => false,
        }
    }

    /// What Docker tells of a container since its last start.
    async fn events(&self, name: &str, state: &ContainerState) -> Vec<String> {
        let Some(since) = &state.started_at else {
            return Vec::new();
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // What is told up to a moment that has passed ends by itself.
        let until = now.unwrap_or_default().as_secs().saturating_add(1);
        let filters = [("type", "container"), ("container", name)];
        let filters = filters.map(|(name, value)| (name, vec![value])).into();
        let options = EventsOptionsBuilder::default()
            .since(since)
            .until(&until.to_string())
            .filters(&filters)
            .build();
        let Ok(engine) = self.connector.client().await else {
            return Vec::new();
        };
        let events = engine.events(Some(options)).take(MAX_EVENTS);
        let actions = events
            .filter_map(|event| async { event.ok()?.action })
            .collect();
        let told = tokio::time::timeout(ENGINE_TIME, actions).await;
        told.unwrap_or_default()
    }
}
