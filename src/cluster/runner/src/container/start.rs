//! The start of a run: everything is made ready, held against what was asked for, and started.

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use vfioctl_api::{Backend, Container, GpuMode, Kind, Order};
use vfioctl_scan::read_numa;

use super::claim::Claim;
use super::engine::{EngineError, Facts, limited, limited_if_there};
use super::folder::Note;
use super::gpu::{NvidiaSupport, plan_gpus};
use super::life::{RUNNER_LABEL, TASK_LABEL, container_name};
use super::make::kept_image;
use super::recipe::{GpuParts, Recipe};
use super::state::{Doing, doing};
use super::{Containers, image, mount, ssh};
use crate::limits::{ENGINE_TIME, ENGINE_WORK_TIME};
use crate::node::GpuDetail;
use crate::world::{Begin, StartError};

const RUN_LABEL: &str = "dev.vfioctl.run";

const OWNER_LABEL: &str = "dev.vfioctl.owner";

/// What a server does that has no command: it waits, and ends when it is asked to. `sleep` alone would
/// have to be a program of the image that knows 'infinity'.
const WAITING: [&str; 3] = [
    "/bin/sh",
    "-c",
    "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done",
];

pub(super) fn not_now(error: impl std::fmt::Display) -> StartError {
    StartError::not_now(error.to_string())
}

fn cannot_write(error: std::io::Error) -> StartError {
    not_now(format!("the node cannot write down what it does: {error}"))
}

/// When a container was started last, in the engine's words.
fn started_at(found: &ContainerInspectResponse) -> Option<String> {
    found.state.as_ref()?.started_at.clone()
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
        let mut recipe = self.recipe(order, name, container)?;
        let keys = order.submission.ssh.as_ref();
        let keys = keys.map(|request| ssh::parse_keys(&request.keys));
        let keys = keys.transpose().map_err(StartError::never)?;

        let facts = self.connector.facts().await.map_err(not_now)?;
        let engine = self.connector.client().await.map_err(not_now)?;
        recipe.has_init = facts.has_init;
        let before = self.find_before(order, name).await?;
        if before.is_none() {
            recipe.image = self.ensure_image(&engine, order, container, begin).await?;
        }

        // From here on there is something to undo, and the folder tells so.
        let folder = self.folder(&order.task);
        folder.make().map_err(cannot_write)?;
        let port_before = self.read_note(order).map_err(not_now)?;
        let mut note = Note {
            run: order.run,
            started_before: before.as_ref().and_then(started_at),
            ssh_port: port_before.and_then(|note| note.ssh_port),
            ..Note::default()
        };
        recipe.gpus = self.take_gpus(order, name, &facts, &mut note).await?;
        let made = match before {
            Some(before) => {
                self.take_up(&engine, &facts, &mut recipe, before, order)
                    .await?
            }
            None => self.make(&engine, &facts, &mut recipe).await?,
        };
        self.check(&recipe, &facts, &made)?;

        let door = match keys {
            Some(keys) => {
                let listener = self.place.take_port(note.ssh_port).await;
                let listener = listener.map_err(StartError::not_now)?;
                note.ssh_port = listener.local_addr().ok().map(|address| address.port());
                Some((listener, keys))
            }
            None => None,
        };
        note.started_before = started_at(&made);
        folder.write_note(&note).map_err(cannot_write)?;
        begin.begin().await?;
        if let Err(error) = limited(ENGINE_WORK_TIME, engine.start_container(name, None)).await {
            return Err(start_failed(error));
        }
        if let Some((listener, keys)) = door
            && let Err(reason) = self.open_door(order, listener, keys)
        {
            // It is tried again while the run is waited for.
            crate::log::warning(&format!("task '{}': no SSH yet: {reason}", order.task));
        }
        self.follow(order);
        Ok(())
    }

    /// The container that a server had in its last run; none where there is none to be taken up.
    async fn find_before(
        &self,
        order: &Order,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, StartError> {
        let Some(found) = self.connector.inspect(name).await.map_err(not_now)? else {
            return Ok(None);
        };
        match found.state.as_ref().map(doing) {
            // A runner that was killed here has left it.
            Some(Doing::Nothing) | None => {
                self.remove_container(name).await.map_err(not_now)?;
                Ok(None)
            }
            Some(Doing::Ended) if order.submission.kind == Kind::Vps => Ok(Some(found)),
            Some(Doing::Running | Doing::Ended) => {
                let reason = format!("container '{name}' is there already");
                Err(StartError::Unknown(reason))
            }
        }
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
        note: &mut Note,
    ) -> Result<GpuParts, StartError> {
        let support = NvidiaSupport::look(facts, &self.parts.programs);
        if order.gpus.is_empty() {
            return plan_gpus(&[], facts, &support).map_err(StartError::not_now);
        }
        let gpus = self.find_gpus(order).await?;
        let claim = Claim {
            name: name.to_owned(),
            addresses: gpus.iter().map(|gpu| gpu.gpu.address.clone()).collect(),
            is_exclusive: order.submission.gpu_mode == GpuMode::Exclusive,
            user: order.owner.to_string(),
        };
        // Written down before it is asked for: what may stand has to be ended.
        let folder = self.folder(&order.task);
        note.may_have_claim = true;
        folder.write_note(note).map_err(cannot_write)?;
        if let Err(error) = self.helper.claim(claim).await {
            if !error.may_stand {
                note.may_have_claim = false;
                folder.write_note(note).map_err(cannot_write)?;
            }
            return Err(StartError::not_now(error.reason));
        }
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

/// Why a container did not start; the engine has tried.
fn start_failed(error: EngineError) -> StartError {
    let EngineError::Refused { message, .. } = &error else {
        return StartError::Unknown(error.to_string());
    };
    let lower = message.to_lowercase();
    // What is wrong with the command is wrong everywhere.
    let is_command = [
        "executable file",
        "command that was not found",
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
