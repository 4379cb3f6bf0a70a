//! Containers on a node: Docker or Podman, through the Docker API.
//!
//! A run of a task is one container of one name, so the engine itself makes doubles impossible. What
//! happens from an order to its end:
//!
//! 1. The image is there, pulled, or made from an archive (`image`, `archive`).
//! 2. Its GPUs are claimed with the helper (`claim`), and then looked up as they are now (`gpu`).
//! 3. The container is made from a `recipe`, and what the engine says it made is held against it
//!    (`verify`): nothing is started without its GPUs.
//! 4. It is started, its logs are copied (`log`), and it is reached by SSH where that was asked for (`ssh`).
//! 5. It ends, its end is noted (`folder`), and it goes, with its claim. A server's container stays, for
//!    what it wrote, and is started again.
//!
//! `life` is these steps; `sweep` is what a runner that was killed in between has left.

mod archive;
mod attend;
mod claim;
mod engine;
mod folder;
mod gpu;
mod image;
mod life;
mod log;
mod mount;
mod recipe;
mod request;
mod ssh;
mod start;
mod state;
mod sweep;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use vfioctl_api::{Capability, LogOrder, Order, TaskId, Vendor};
use vfioctl_scan::SysRoot;

use crate::configuration;
use crate::link::Bytes;
use crate::node::{Gpus, Side, SideReport};
use crate::world::{Backend, Begin, Found, Running, StartError, Unknown};

use claim::Helper;
use engine::{Connector, Facts};
use folder::TaskFolder;
use gpu::NvidiaSupport;
use image::Archives;
use log::Follower;
use ssh::{Door, Place};

/// What containers are made of.
#[derive(Debug)]
pub struct Parts {
    /// What the configuration says of them.
    pub configuration: configuration::Containers,
    /// The helper's socket.
    pub helper: PathBuf,
    /// The GPUs of the node.
    pub gpus: Arc<dyn Gpus>,
    /// Where the machine is looked at.
    pub root: Arc<SysRoot>,
    /// Where what they write is kept.
    pub data: PathBuf,
    /// The address that the node's servers are reached at.
    pub address: String,
    /// Folders in which programs are looked for, as in `PATH`.
    pub programs: Vec<PathBuf>,
    /// Where Podman looks for CDI specifications, which it does not tell.
    pub cdi_folders: Vec<PathBuf>,
    /// Tasks that the journal knows.
    pub known: BTreeSet<TaskId>,
    /// Bytes that are kept of one log.
    pub max_log_bytes: u64,
}

impl Parts {
    /// Where CDI specifications lie (the standard, "CDI JSON Specification").
    pub fn usual_cdi_folders() -> Vec<PathBuf> {
        ["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).into()
    }

    /// Folders in which this process's programs are looked for.
    pub fn programs_of_environment() -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .collect();
        // Where an engine looks; a runner's own path may be shorter.
        folders.extend(
            ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"].map(PathBuf::from),
        );
        folders
    }
}

/// Containers on a node.
#[derive(Debug)]
pub struct Containers {
    parts: Parts,
    connector: Arc<Connector>,
    helper: Helper,
    archives: Archives,
    place: Place,
    /// What this process does for runs that are not over.
    active: Mutex<BTreeMap<TaskId, Active>>,
    /// Names of containers that this process has made or is making.
    own: Mutex<BTreeSet<String>>,
    /// What the sweep at the start of this process has left.
    swept: tokio::sync::Mutex<Option<Vec<String>>>,
}

/// What this process does for a run that is not over.
#[derive(Debug, Default)]
struct Active {
    run: u32,
    follower: Option<Arc<Follower>>,
    door: Option<(Door, vfioctl_api::SshAccess)>,
}

impl Containers {
    /// Containers of these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            connector: Arc::new(Connector::new(
                parts.configuration.socket.clone(),
                parts.cdi_folders.clone(),
            )),
            helper: Helper::new(&parts.helper),
            archives: Archives::new(parts.configuration.archives.clone(), &parts.data),
            place: Place {
                address: parts.address.clone(),
                ports: parts.configuration.ssh_ports,
            },
            active: Mutex::default(),
            own: Mutex::default(),
            swept: tokio::sync::Mutex::default(),
            parts,
        }
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<TaskId, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, task: &TaskId) -> TaskFolder {
        TaskFolder::of(&self.parts.data.join("tasks"), task)
    }

    async fn nvidia_problem(&self, facts: &Facts, support: &NvidiaSupport) -> Option<String> {
        let has_nvidia = self
            .parts
            .gpus
            .look()
            .await
            .iter()
            .any(|gpu| gpu.gpu.present && gpu.gpu.vendor == Vendor::Nvidia);
        (has_nvidia && support.way(facts).is_none()).then(|| {
            format!(
                "containers of {} cannot have GPUs of NVIDIA: install nvidia-container-toolkit and run 'nvidia-ctk {}'",
                facts.name(),
                match facts.kind {
                    engine::EngineKind::Docker => "runtime configure --runtime=docker",
                    engine::EngineKind::Podman => "cdi generate --output=/etc/cdi/nvidia.yaml",
                }
            )
        })
    }
}

#[async_trait]
impl Side for Containers {
    async fn look(&self) -> SideReport {
        let facts = match self.connector.facts().await {
            Ok(facts) => facts,
            Err(error) => return SideReport::none(error.to_string()),
        };
        let left = self.sweep_once().await;
        let support = NvidiaSupport::look(&facts, &self.parts.programs);
        let mut problems = left;
        problems.extend(self.nvidia_problem(&facts, &support).await);
        problems.extend(support.problems.iter().cloned());
        problems.extend(
            self.active()
                .values()
                .filter_map(|active| active.follower.as_ref()?.trouble()),
        );
        SideReport {
            capability: Capability::yes(),
            engine: Some(vfioctl_api::Engine {
                name: facts.name().to_owned(),
                nvidia: support.way(&facts).map(|way| way.name().to_owned()),
                version: facts.version,
            }),
            problems,
            ..SideReport::none("")
        }
    }

    async fn read_log(&self, order: &LogOrder) -> Result<Option<Bytes>, String> {
        let folder = self.folder(&order.task);
        if !folder.exists() || folder.note().map_err(|error| error.to_string())?.is_none() {
            return Ok(None);
        }
        let noted = folder.clone();
        // A note that cannot be read is that of a task which is just being removed.
        let is_active = move || {
            noted
                .note()
                .ok()
                .flatten()
                .is_some_and(|note| !note.is_settled)
        };
        log::read(folder, order, is_active).map(Some)
    }
}

#[async_trait]
impl Backend for Containers {
    async fn start(&self, order: &Order, begin: &Begin) -> Result<(), StartError> {
        self.start_run(order, begin).await
    }

    async fn find(&self, order: &Order) -> Result<Found, Unknown> {
        self.find_run(order).await
    }

    async fn wait(&self, order: &Order, running: &Running) -> Result<Found, Unknown> {
        self.wait_for_run(order, running).await
    }

    async fn end(&self, order: &Order, at_once: bool) -> Result<(), Unknown> {
        self.end_run(order, at_once).await
    }

    async fn settle(&self, order: &Order) -> Result<(), Unknown> {
        self.settle_run(order).await
    }

    async fn remove(&self, order: &Order) -> Result<(), Unknown> {
        self.remove_task(order).await
    }
}
