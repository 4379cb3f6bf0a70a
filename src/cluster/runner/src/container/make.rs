//! Making a container: by its recipe, or of what a server wrote; and holding it against the recipe.

use bollard::Docker;
use bollard::models::{ContainerConfig, ContainerInspectResponse};
use bollard::query_parameters::{CommitContainerOptionsBuilder, CreateContainerOptionsBuilder};
use vfioctl_api::Order;

use super::engine::{EngineError, EngineKind, Facts, limited};
use super::recipe::Recipe;
use super::start::not_now;
use super::{Containers, request, verify};
use crate::limits::ENGINE_WORK_TIME;
use crate::world::StartError;

/// Under this repository lies what a server wrote whose container had to be made anew; tagged by its task.
const KEPT: &str = "vfioctl-kept";

impl Containers {
    /// Makes a container, and tells what the engine says it has made.
    pub(super) async fn make(
        &self,
        engine: &Docker,
        facts: &Facts,
        recipe: &mut Recipe,
    ) -> Result<ContainerInspectResponse, StartError> {
        let made = self.try_make(engine, facts, recipe).await;
        let made = match made {
            // Podman tells only now that it has no first process to give.
            Err(EngineError::Refused { message, .. })
                if recipe.has_init && lacks_init(&message) =>
            {
                recipe.has_init = false;
                self.try_make(engine, facts, recipe).await
            }
            made => made,
        };
        made.map_err(|error| match &error {
            EngineError::Refused { status: 400, .. } => StartError::never(error.to_string()),
            _ => not_now(error),
        })?;
        let made = self
            .connector
            .inspect(&recipe.name)
            .await
            .map_err(not_now)?;
        made.ok_or_else(|| not_now("the engine made a container that is not there"))
    }

    async fn try_make(
        &self,
        engine: &Docker,
        facts: &Facts,
        recipe: &Recipe,
    ) -> Result<(), EngineError> {
        if facts.kind == EngineKind::Podman && !recipe.gpus.cdi.is_empty() {
            let socket = self.connector.socket().map_err(EngineError::Unreachable)?;
            return request::create_with_podman(&socket, &recipe.to_libpod()).await;
        }
        let options = CreateContainerOptionsBuilder::default()
            .name(&recipe.name)
            .build();
        limited(
            ENGINE_WORK_TIME,
            engine.create_container(Some(options), recipe.to_docker()),
        )
        .await
        .map(|_| ())
    }

    pub(super) fn check(
        &self,
        recipe: &Recipe,
        facts: &Facts,
        made: &ContainerInspectResponse,
    ) -> Result<(), StartError> {
        let missing = match facts.kind {
            EngineKind::Docker => verify::find_missing(recipe, made, &is_same_node),
            EngineKind::Podman if recipe.gpus.cdi.is_empty() => {
                verify::find_missing(recipe, made, &is_same_node)
            }
            EngineKind::Podman => verify::find_missing_in_libpod(recipe, made, &is_same_node),
        };
        match missing {
            None => Ok(()),
            Some(what) => Err(StartError::not_now(format!(
                "{} {} left out {what}, without a word; the container was not started",
                facts.name(),
                facts.version
            ))),
        }
    }

    /// Takes up the container of a server that ran before. Where its GPUs get in otherwise now, since device
    /// nodes have other numbers, it is made anew of what it wrote.
    pub(super) async fn take_up(
        &self,
        engine: &Docker,
        facts: &Facts,
        recipe: &mut Recipe,
        made: ContainerInspectResponse,
        order: &Order,
    ) -> Result<ContainerInspectResponse, StartError> {
        if has_same_gpus(recipe, &made) && self.check(recipe, facts, &made).is_ok() {
            return Ok(made);
        }
        let kept = CommitContainerOptionsBuilder::default()
            .container(&recipe.name)
            .repo(KEPT)
            .tag(order.task.as_str())
            .pause(false)
            .build();
        let kept = engine.commit_container(kept, ContainerConfig::default());
        let kept = limited(ENGINE_WORK_TIME, kept).await;
        kept.map_err(|error| not_now(format!("what it wrote cannot be kept: {error}")))?;
        recipe.image = kept_image(order);
        self.remove_container(&recipe.name).await.map_err(not_now)?;
        self.make(engine, facts, recipe).await
    }
}

pub(super) fn kept_image(order: &Order) -> String {
    format!("{KEPT}:{}", order.task)
}

fn lacks_init(message: &str) -> bool {
    let message = message.to_lowercase();
    ["container-init", "init binary", "docker-init", "catatonit"]
        .iter()
        .any(|word| message.contains(word))
}

/// Whether a container has these GPUs and no others: what it lacks is found elsewhere.
fn has_same_gpus(recipe: &Recipe, made: &ContainerInspectResponse) -> bool {
    let host = made.host_config.clone().unwrap_or_default();
    let devices = host.devices.unwrap_or_default();
    let has_only = devices.iter().all(|device| {
        let nodes = &recipe.gpus.nodes;
        device
            .path_in_container
            .as_ref()
            .is_some_and(|path| nodes.contains(path))
    });
    let requests = host.device_requests.unwrap_or_default();
    // What Podman resolved cannot be seen again; it is made anew, to be sure.
    has_only && requests.len() == recipe.gpus.device_requests().len() && recipe.gpus.cdi.is_empty()
}

/// Whether two paths are of one device.
fn is_same_node(one: &str, other: &str) -> bool {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let device = |path: &str| {
        let metadata = std::fs::metadata(path).ok()?;
        metadata
            .file_type()
            .is_char_device()
            .then(|| metadata.rdev())
    };
    device(one).is_some_and(|number| device(other) == Some(number))
}
