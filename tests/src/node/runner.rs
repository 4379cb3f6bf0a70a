//! The runner's own code, as a process of this program.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use vfioctl_api::{LogOrder, MemorySize, Register, Registered, Sync, SyncReply};
use vfioctl_runner::agent;
use vfioctl_runner::configuration;
use vfioctl_runner::container::{Containers, Parts};
use vfioctl_runner::journal::{FolderJournal, Journal as _};
use vfioctl_runner::link::{Bytes, Link, LinkError};
use vfioctl_runner::machine::{self, Machines};
use vfioctl_runner::node::{self, Absent, Gpus, LiveNode, Side};
use vfioctl_scan::SysRoot;

use super::gpu::FileGpus;
use super::host::Question;
use super::{MachineSetup, Setup};

/// Says to this program that it is a runner, and of which node.
pub(super) const ASKED: &str = "VFIOCTL_TESTS_RUNNER_OF";

/// This program, at a place that every user can reach.
pub(super) fn program() -> PathBuf {
    static COPY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let copy = COPY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("runner");
        std::fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        (folder, path)
    });
    copy.1.clone()
}

/// Makes this process a runner where it was started as one; then it does not return. To be called first
/// in `main`.
pub fn run_runner_if_asked() {
    let Some(folder) = std::env::var_os(ASKED) else {
        return;
    };
    // With the test that started it, however that ends.
    let signal = rustix::process::Signal::KILL;
    rustix::process::set_parent_process_death_signal(Some(signal)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&PathBuf::from(folder)));
    std::process::exit(1);
}

async fn run(folder: &Path) {
    let setup: Setup =
        serde_json::from_slice(&std::fs::read(folder.join("setup.json")).unwrap()).unwrap();
    let data = folder.join("data");
    let journal = FolderJournal::open(&data.join("journal")).unwrap();
    let saved = journal.read().await.unwrap();
    let known: BTreeSet<_> = saved.into_iter().map(|saved| saved.order.task).collect();
    let gpus: Arc<dyn Gpus> = Arc::new(FileGpus(folder.join("gpus.json")));
    let helper = setup.helper;
    let containers = Containers::new(Parts {
        configuration: configuration::Containers {
            socket: Some(setup.engine),
            default_image: setup.default_image,
            archives: folder.join("archives"),
            mounts: setup.mounts,
            network: "none".into(),
            ssh_ports: setup
                .ssh_ports
                .try_into()
                .unwrap_or(configuration::Containers::default().ssh_ports),
            ..configuration::Containers::default()
        },
        helper: helper.clone(),
        gpus: Arc::clone(&gpus),
        root: Arc::new(SysRoot::live().unwrap()),
        data: data.clone(),
        address: "127.0.0.1".into(),
        programs: setup.programs,
        cdi_folders: setup.cdi,
        known,
        max_log_bytes: setup.max_log_bytes,
    });
    let machines: Arc<dyn Side> = match setup.machines {
        None => Arc::new(Absent::new("there are none here")),
        Some(machines) => Arc::new(make_machines(&machines, &helper, &gpus, &data)),
    };
    let world = LiveNode::new(node::Parts {
        root: SysRoot::live().unwrap(),
        gpus,
        containers: Arc::new(containers),
        machines,
        address: "127.0.0.1".into(),
        default_machine_memory: MemorySize::from_mib(1024),
        data,
        problems: Vec::new(),
    });
    let now = || {
        u64::try_from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_millis(),
        )
        .unwrap()
    };
    let parts = agent::Parts {
        link: Arc::new(SocketLink(folder.join("host/socket"))),
        world: Arc::new(world),
        journal: Arc::new(journal),
        clock: Arc::new(now),
        incarnation: format!("{} {}", std::process::id(), now()),
    };
    agent::run(parts).await.unwrap();
}

fn make_machines(
    setup: &MachineSetup,
    helper: &Path,
    gpus: &Arc<dyn Gpus>,
    data: &Path,
) -> Machines {
    let parts = machine::Parts {
        configuration: configuration::Machines {
            images: Some(setup.images.clone()),
            group: setup.group.clone(),
            ..configuration::Machines::default()
        },
        helper: setup.helper.as_deref().unwrap_or(helper).to_owned(),
        is_own_user: setup.helper.is_none(),
        gpus: Arc::clone(gpus),
        root: Arc::new(SysRoot::live().unwrap()),
        data: data.to_owned(),
        address: setup.address.clone(),
        program: setup.program.clone(),
        passt: setup.passt.clone(),
        qemu: machine::QEMU.into(),
    };
    Machines::open(parts).unwrap()
}

/// The link to the test's host.
#[derive(Debug)]
struct SocketLink(PathBuf);

impl SocketLink {
    async fn ask<R: DeserializeOwned + Send + 'static>(
        &self,
        question: Question,
    ) -> Result<R, LinkError> {
        let socket = self.0.clone();
        let ask = move || -> io::Result<R> {
            let mut stream = UnixStream::connect(socket)?;
            stream.write_all(&serde_json::to_vec(&question)?)?;
            stream.write_all(b"\n")?;
            Ok(serde_json::from_reader(stream)?)
        };
        let answer = tokio::task::spawn_blocking(ask).await.unwrap();
        answer.map_err(|error| LinkError::Unreachable(error.to_string()))
    }
}

#[async_trait]
impl Link for SocketLink {
    async fn register(&self, register: &Register) -> Result<Registered, LinkError> {
        self.ask(Question::Register(Box::new(register.clone())))
            .await
    }

    async fn sync(&self, sync: &Sync) -> Result<SyncReply, LinkError> {
        self.ask(Question::Sync(Box::new(sync.clone()))).await
    }

    async fn send_log(&self, order: &LogOrder, mut bytes: Bytes) -> Result<(), LinkError> {
        let unreachable = |error: io::Error| LinkError::Unreachable(error.to_string());
        let mut stream = UnixStream::connect(&self.0).map_err(unreachable)?;
        let question = serde_json::to_vec(&Question::Log {
            stream: order.stream.clone(),
        })
        .unwrap();
        stream
            .write_all(&[&question[..], b"\n"].concat())
            .map_err(unreachable)?;
        while let Some(chunk) = bytes.next().await {
            stream
                .write_all(&chunk.map_err(unreachable)?)
                .map_err(unreachable)?;
        }
        Ok(())
    }
}
