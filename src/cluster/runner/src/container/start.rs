//! The start of a run: everything is made ready, held against what was asked for, and started.

use bollard::Docker;
use bollard::models::{ContainerConfig, ContainerInspectResponse};
use bollard::query_parameters::{CommitContainerOptionsBuilder, CreateContainerOptionsBuilder};
use vfioctl_api::{Backend, Container, Kind, Order};
use vfioctl_scan::read_numa;

use super::claim::Claim;
use super::engine::{EngineError, EngineKind, Facts, limited, limited_if_there};
use super::folder::Note;
use super::gpu::{NvidiaSupport, plan_gpus};
use super::life::{RUNNER_LABEL, TASK_LABEL, container_name};
use super::recipe::{GpuParts, Recipe};
use super::state::{Doing, doing};
use super::{Containers, image, mount, request, ssh, verify};
use crate::limits::{ENGINE_TIME, ENGINE_WORK_TIME};
use crate::node::GpuDetail;
use crate::world::{Begin, StartError};

const RUN_LABEL: &str = "dev.vfioctl.run";

const OWNER_LABEL: &str = "dev.vfioctl.owner";

/// Under this repository lies what a server wrote whose container had to be made anew; tagged by its task.
const KEPT: &str = "vfioctl-kept";

/// What a server does that has no command: it waits, and ends when it is asked to. `sleep` alone would
/// have to be a program of the image that knows 'infinity'.
const WAITING: [&str; 3] = [
    "/bin/sh",
    "-c",
    "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done",
];

fn not_now(error: impl std::fmt::Display) -> StartError {
    StartError::not_now(error.to_string())
}

impl Containers {
    /// Makes everything ready, and starts it.
    pub(super) async fn start_run(&self, order: &Order, begin: &Begin) -> Result<(), StartError> {
        let name = container_name(order);
        self.own().insert(name.clone());
        let started = self.try_start(order, &name, begin).await;
        match &started {
            // What may run is looked for, and not undone.
            Ok(()) | Err(StartError::Unknown(_)) => {}
            Err(StartError::Failed { .. } | StartError::Cancelled) => {
                self.forget(order);
                // What cannot be undone now is undone when the run is settled, before anybody is told.
                let _ = self.undo(order, &name).await;
            }
        }
        started
    }

    async fn try_start(&self, order: &Order, name: &str, begin: &Begin) -> Result<(), StartError> {
        let Backend::Container(container) = &order.submission.backend else {
            return Err(StartError::never("it is no container"));
        };
        let folder = self.folder(&order.task);
        folder
            .make()
            .map_err(|error| not_now(format!("its folder cannot be made: {error}")))?;
        let port_before = self
            .read_note(order)
            .ok()
            .flatten()
            .and_then(|note| note.ssh_port);
        let mut recipe = self.recipe(order, name, container)?;
        let keys = order
            .submission
            .ssh
            .as_ref()
            .map(|request| ssh::parse_keys(&request.keys));
        let keys = keys.transpose().map_err(StartError::never)?;

        let facts = self.connector.facts().await.map_err(not_now)?;
        let engine = self.connector.client().await.map_err(not_now)?;
        recipe.has_init = facts.has_init;
        let made_before = self.connector.inspect(name).await.map_err(not_now)?;
        if made_before.is_none() {
            recipe.image = self.ensure_image(&engine, order, container, begin).await?;
        }
        recipe.gpus = self.take_gpus(order, name, &facts).await?;
        let made = match made_before {
            Some(made) if order.submission.kind == Kind::Vps => {
                self.take_up(&engine, &facts, &mut recipe, made, order)
                    .await?
            }
            // A runner that was killed here has left it.
            Some(made)
                if made
                    .state
                    .as_ref()
                    .is_some_and(|state| doing(state) == Doing::Nothing) =>
            {
                self.remove_container(name).await.map_err(not_now)?;
                recipe.image = self.ensure_image(&engine, order, container, begin).await?;
                self.make(&engine, &facts, &mut recipe).await?
            }
            Some(_) => {
                return Err(StartError::Unknown(format!(
                    "container '{name}' is there already"
                )));
            }
            None => self.make(&engine, &facts, &mut recipe).await?,
        };
        self.check(&recipe, &facts, &made)?;

        let listener = match keys {
            Some(_) => Some(
                self.place
                    .take_port(port_before)
                    .await
                    .map_err(StartError::not_now)?,
            ),
            None => None,
        };
        let port = listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
            .map(|address| address.port());
        let note = Note {
            run: order.run,
            started_before: made.state.and_then(|state| state.started_at),
            ssh_port: port,
            ..Note::default()
        };
        folder.write_note(&note).map_err(|error| {
            not_now(format!("the node cannot write down what it does: {error}"))
        })?;
        begin.begin().await?;
        if let Err(error) = limited(ENGINE_WORK_TIME, engine.start_container(name, None)).await {
            return Err(start_failed(error));
        }
        if let (Some(listener), Some(keys)) = (listener, keys) {
            // Where this fails, it is tried again while the run is waited for.
            if let Err(reason) = self.open_door(order, listener, keys) {
                crate::log::warning(&format!("task '{}': no SSH yet: {reason}", order.task));
            }
        }
        self.follow(order);
        Ok(())
    }

    /// What is wanted, as far as it does not depend on the engine or on GPUs.
    fn recipe(
        &self,
        order: &Order,
        name: &str,
        container: &Container,
    ) -> Result<Recipe, StartError> {
        let configuration = &self.parts.configuration;
        if container.privileged && !configuration.allow_privileged {
            return Err(StartError::never(
                "this node lets no container be privileged, which is root on it; its administrator can allow it \
                 ('[runner.containers] allow_privileged')",
            ));
        }
        if let Some(name) = container
            .environment
            .keys()
            .find(|name| is_gpu_variable(name))
        {
            return Err(StartError::never(format!(
                "the variable '{name}' would give it GPUs behind everybody's back; name them with '--target' or '--gpus'"
            )));
        }
        let mounts = mount::allow_mounts(&container.mounts, &configuration.mounts)
            .map_err(StartError::never)?;
        let submission = &order.submission;
        let waits = submission.kind == Kind::Vps && container.command.is_empty();
        let waiting = || WAITING.map(str::to_owned).to_vec();
        let labels = [
            (RUNNER_LABEL, self.runner_mark()),
            (TASK_LABEL, order.task.to_string()),
            (RUN_LABEL, order.run.to_string()),
            (OWNER_LABEL, order.owner.to_string()),
        ];
        let memory = submission
            .memory
            .map(|memory| i64::try_from(memory.mib() << 20).unwrap_or(i64::MAX));
        Ok(Recipe {
            name: name.to_owned(),
            hostname: submission
                .name
                .as_ref()
                .map_or_else(|| order.task.to_string(), ToString::to_string),
            labels: labels.map(|(name, value)| (name.to_owned(), value)).into(),
            entrypoint: waits.then(|| waiting().into_iter().take(1).collect()),
            command: if waits {
                waiting().split_off(1)
            } else {
                container.command.clone()
            },
            environment: container
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            working_folder: container.working_folder.clone(),
            mounts,
            cores: submission.cores,
            numa: self.numa(order)?,
            memory_bytes: memory,
            is_privileged: container.privileged,
            network: configuration.network.clone(),
            ..Recipe::default()
        })
    }

    /// Processors of the NUMA node that was named.
    fn numa(&self, order: &Order) -> Result<Option<(String, u32)>, StartError> {
        let Some(number) = order
            .submission
            .target
            .as_ref()
            .and_then(|target| target.numa)
        else {
            return Ok(None);
        };
        let nodes = read_numa(&self.parts.root).map_err(not_now)?;
        match nodes.into_iter().find(|node| node.number == number) {
            Some(node) => Ok(Some((node.processors, number))),
            None => Err(StartError::never(format!(
                "this node has no NUMA node {number}"
            ))),
        }
    }

    async fn ensure_image(
        &self,
        engine: &Docker,
        order: &Order,
        container: &Container,
        begin: &Begin,
    ) -> Result<String, StartError> {
        // What a server wrote, whose container had to go before the new one was made.
        let kept = kept_image(order);
        let found = limited_if_there(ENGINE_TIME, engine.inspect_image(&kept))
            .await
            .map_err(not_now)?;
        if order.submission.kind == Kind::Vps && found.is_some() {
            return Ok(kept);
        }
        if let Some(archive) = &container.archive {
            return self.archives.ensure(engine, archive, begin).await;
        }
        let image = container
            .image
            .as_ref()
            .unwrap_or(&self.parts.configuration.default_image);
        image::ensure_image(engine, image, begin).await?;
        Ok(image.clone())
    }

    /// Claims the GPUs of a run, and looks up how they get into its container. In this order: what is
    /// claimed stays with its driver, and its device nodes as they are.
    async fn take_gpus(
        &self,
        order: &Order,
        name: &str,
        facts: &Facts,
    ) -> Result<GpuParts, StartError> {
        let support = NvidiaSupport::look(facts, &self.parts.programs);
        if order.gpus.is_empty() {
            return plan_gpus(&[], facts, &support).map_err(StartError::not_now);
        }
        let gpus = self.find_gpus(order).await?;
        let claim = Claim {
            name: name.to_owned(),
            addresses: gpus.iter().map(|gpu| gpu.gpu.address.clone()).collect(),
            is_exclusive: order.submission.gpu_mode == vfioctl_api::GpuMode::Exclusive,
            user: order.owner.to_string(),
        };
        self.helper
            .claim(claim)
            .await
            .map_err(StartError::not_now)?;
        let gpus = self.find_gpus(order).await?;
        plan_gpus(&gpus, facts, &support).map_err(StartError::not_now)
    }

    async fn find_gpus(&self, order: &Order) -> Result<Vec<GpuDetail>, StartError> {
        let mut gpus = Vec::new();
        for number in &order.gpus {
            let found = self
                .parts
                .gpus
                .find(*number)
                .await
                .filter(|found| found.gpu.present);
            gpus.push(found.ok_or_else(|| {
                StartError::not_now(format!("this node has no GPU {number} now"))
            })?);
        }
        Ok(gpus)
    }

    /// Makes a container, and tells what the engine says it has made.
    async fn make(
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

    fn check(
        &self,
        recipe: &Recipe,
        facts: &Facts,
        made: &ContainerInspectResponse,
    ) -> Result<(), StartError> {
        let missing = match facts.kind {
            EngineKind::Docker => verify::find_missing(recipe, made),
            EngineKind::Podman if recipe.gpus.cdi.is_empty() => verify::find_missing(recipe, made),
            EngineKind::Podman => verify::find_missing_in_libpod(recipe, made),
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
    async fn take_up(
        &self,
        engine: &Docker,
        facts: &Facts,
        recipe: &mut Recipe,
        made: ContainerInspectResponse,
        order: &Order,
    ) -> Result<ContainerInspectResponse, StartError> {
        let state = made.state.clone().unwrap_or_default();
        match doing(&state) {
            Doing::Running => {
                return Err(StartError::Unknown(format!(
                    "container '{}' runs already",
                    recipe.name
                )));
            }
            Doing::Ended
                if has_same_gpus(recipe, &made) && self.check(recipe, facts, &made).is_ok() =>
            {
                return Ok(made);
            }
            Doing::Ended => {
                let kept = CommitContainerOptionsBuilder::default()
                    .container(&recipe.name)
                    .repo(KEPT)
                    .tag(order.task.as_str())
                    .pause(false)
                    .build();
                let kept = limited(
                    ENGINE_WORK_TIME,
                    engine.commit_container(kept, ContainerConfig::default()),
                )
                .await;
                kept.map_err(|error| not_now(format!("what it wrote cannot be kept: {error}")))?;
            }
            Doing::Nothing => {}
        }
        let kept = kept_image(order);
        let found = limited_if_there(ENGINE_TIME, engine.inspect_image(&kept))
            .await
            .map_err(not_now)?;
        recipe.image = match found {
            Some(_) => kept,
            None => made
                .config
                .and_then(|config| config.image)
                .unwrap_or_default(),
        };
        self.remove_container(&recipe.name).await.map_err(not_now)?;
        self.make(engine, facts, recipe).await
    }
}

pub(super) fn kept_image(order: &Order) -> String {
    format!("{KEPT}:{}", order.task)
}

/// Variables by which an image, or a user, asks NVIDIA's runtime for GPUs.
fn is_gpu_variable(name: &str) -> bool {
    [
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_MIG_CONFIG_DEVICES",
        "NVIDIA_MIG_MONITOR_DEVICES",
    ]
    .contains(&name)
        || name.starts_with("NVIDIA_IMEX")
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
        device
            .path_on_host
            .as_ref()
            .is_some_and(|path| recipe.gpus.nodes.contains(path))
    });
    let requests = host.device_requests.unwrap_or_default();
    // What Podman resolved cannot be seen again; it is made anew, to be sure.
    has_only && requests.len() == recipe.gpus.device_requests().len() && recipe.gpus.cdi.is_empty()
}

/// Why a container did not start; the engine has tried.
fn start_failed(error: EngineError) -> StartError {
    let EngineError::Refused { message, .. } = &error else {
        return StartError::Unknown(error.to_string());
    };
    let lower = message.to_lowercase();
    // What is wrong with the command is wrong everywhere.
    let is_command = [
        "executable file",
        "exec format error",
        "no such file or directory: unknown",
        "permission denied: unknown",
    ]
    .iter()
    .any(|words| lower.contains(words));
    if lower.contains("could not select device driver") {
        return StartError::not_now(format!(
            "{error}: install nvidia-container-toolkit and run 'nvidia-ctk runtime configure --runtime=docker'"
        ));
    }
    if is_command {
        StartError::never(error.to_string())
    } else {
        not_now(error)
    }
}
