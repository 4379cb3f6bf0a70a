//! Machines on a node: QEMU with GPUs of its own, started by the helper.
//!
//! A task has one machine of one name for all its runs, so the helper itself makes doubles impossible. What
//! happens from an order to its end:
//!
//! 1. Its folder is made: an overlay of a base image, a seed, a key (`folder`, `images`, `recipe`). Later
//!    runs find it there.
//! 2. Its GPUs are looked up as they are now, and its network is begun (`network`, `ports`).
//! 3. The helper is asked for a plan, which says no where it would, and then for the machine (`start`).
//! 4. It boots, until a server of SSH has spoken through its port (`reach`).
//! 5. It ends, the helper takes its devices home, its logs are kept, and the helper forgets it; the folder
//!    stays until the task is removed (`life`).
//!
//! The helper knows a machine from its start until its end has been noted here. So machines that have
//! stopped do not count against the helper's limit, and each run is asked for as the node is then.

#[cfg(test)]
mod fake_helper;
mod folder;
mod helper;
mod host_key;
mod images;
mod life;
mod log;
mod network;
mod ports;
mod reach;
mod recipe;
#[cfg(test)]
mod sample;
mod start;
#[cfg(test)]
mod tests;
mod version;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use vfioctl_api::{Capability, LogOrder, Order, TaskId};
use vfioctl_core::Answer;
use vfioctl_core::check::KvmNode;
use vfioctl_protocol::machine::{Info, Info_state};
use vfioctl_scan::host::read_kvm_node;
use vfioctl_scan::{SysRoot, read_group_number};

use crate::configuration;
use crate::link::Bytes;
use crate::node::{Gpus, Side, SideReport};
use crate::world::{Backend, Begin, Found, Running, StartError, Unknown};

use folder::Folders;
use helper::{CallError, Helper};
use images::Images;
use network::Networks;
use ports::{Ports, listen_address};
use version::QemuVersion;

pub(crate) use network::Relay;

/// Where Debian's package has passt.
pub const PASST: &str = "/usr/bin/passt";
/// The program that the helper runs machines by, unless it is told otherwise.
pub const QEMU: &str = if cfg!(target_arch = "aarch64") {
    "/usr/bin/qemu-system-aarch64"
} else {
    "/usr/bin/qemu-system-x86_64"
};

/// What machines are made of.
#[derive(Debug)]
pub struct Parts {
    /// What the configuration says of them.
    pub configuration: configuration::Machines,
    /// The socket through which the helper is asked for them.
    pub helper: PathBuf,
    /// Whether they run as this process's own user, and not as whoever asks through that socket.
    pub is_own_user: bool,
    /// The GPUs of the node.
    pub gpus: Arc<dyn Gpus>,
    /// Where the node is looked at.
    pub root: Arc<SysRoot>,
    /// The folder of the runner.
    pub data: PathBuf,
    /// The address that the node's servers are reached at.
    pub address: String,
    /// This program, which is started again as the relay of a network.
    pub program: PathBuf,
    /// The program passt.
    pub passt: PathBuf,
    /// The program that the helper runs machines by, for its version.
    pub qemu: PathBuf,
}

/// Machines on a node.
#[derive(Debug)]
pub struct Machines {
    parts: Parts,
    helper: Helper,
    folders: Folders,
    images: Images,
    networks: Networks,
    ports: Ports,
    qemu: QemuVersion,
    /// The runs whose server of SSH has answered.
    answered: Mutex<BTreeMap<TaskId, u32>>,
}

impl Machines {
    /// Machines of these parts; what an earlier runner left half done is removed.
    ///
    /// # Errors
    /// Why there can be none, as a sentence.
    pub fn open(parts: Parts) -> Result<Self, String> {
        let group = match &parts.configuration.group {
            None => None,
            Some(name) => Some(read_group_number(&parts.root, name).ok_or_else(|| {
                format!("'[runner.machines] group' is '{name}', and there is no such group")
            })?),
        };
        let folders = Folders::below(&parts.data, group);
        folders
            .prepare()
            .map_err(|error| format!("the folder of machines cannot be used: {error}"))?;
        let listen = listen_address(&parts.address);
        let ports = Ports::of(listen, parts.configuration.ssh_ports);
        for task in folders.tasks() {
            match folders.of(&task).note() {
                Ok(Some(note)) => ports.remember(&task, note.port),
                Ok(None) => {}
                Err(error) => crate::log::warning(&format!(
                    "the note about machine '{task}' cannot be read: {error}, ignoring"
                )),
            }
        }
        Ok(Self {
            helper: Helper::at(&parts.helper),
            images: Images::in_folder(
                parts.configuration.images.clone(),
                parts.configuration.default_image.clone(),
            ),
            networks: Networks::by(
                parts.program.clone(),
                parts.passt.clone(),
                Arc::clone(&parts.root),
            ),
            qemu: QemuVersion::of(parts.qemu.clone()),
            folders,
            ports,
            answered: Mutex::default(),
            parts,
        })
    }

    fn answered(&self) -> MutexGuard<'_, BTreeMap<TaskId, u32>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Machines that have stopped, whose end was noted, and whose devices are not home yet: told, and
    /// forgotten once they are.
    async fn sweep(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for machine in self.helper.list().await.unwrap_or_default() {
            if machine.state != Info_state::stopped || !self.is_noted(&machine) {
                continue;
            }
            // One that is gone by now is fine; what could not be asked is asked at the next look.
            let removed = self.helper.remove(&machine.name).await;
            if let Err(CallError::Refused { sentence, .. }) = removed {
                let mut told = machine.devices_home.clone();
                told.insert(0, sentence);
                problems.push(told.join("; "));
            }
        }
        problems
    }

    /// Whether the end of a stopped machine was noted here.
    fn is_noted(&self, machine: &Info) -> bool {
        let task = machine.name.strip_prefix(recipe::PREFIX);
        let Some(Ok(task)) = task.map(str::parse::<TaskId>) else {
            return false;
        };
        let note = self.folders.of(&task).note().ok().flatten();
        note.is_some_and(|note| note.ended.is_some_and(|ended| ended.run == note.begun))
    }

    async fn network_problem(&self) -> Option<String> {
        let problem = self.networks.check_passt().await.err()?;
        match self.ports.listen() {
            IpAddr::V6(address) => Some(format!(
                "{problem}; they are reached from this node only, since that network does not know \
                 {address}"
            )),
            IpAddr::V4(_) => Some(problem),
        }
    }

    fn kvm_problem(&self) -> Option<&'static str> {
        match read_kvm_node(&self.parts.root) {
            Answer::Known(KvmNode::Absent) => Some(
                "there is no /dev/kvm, so machines are emulated, and very slow: \
                 switch virtualisation on in the firmware of this node",
            ),
            // What another user may is not known here.
            Answer::Known(KvmNode::NotPermitted) if !self.parts.is_own_user => None,
            Answer::Known(KvmNode::NotPermitted) => Some(
                "the runner may not open /dev/kvm, so its machines are emulated, and very slow: \
                 put its user into the group kvm",
            ),
            Answer::Known(KvmNode::Usable) | Answer::CannotSee => None,
        }
    }

    fn user_problem(&self) -> Option<&'static str> {
        let is_root = rustix::process::geteuid().is_root();
        (self.parts.is_own_user && is_root).then_some(
            "machines run as the runner's own user, and none runs as root: \
             run the runner as an ordinary user who is in the group vfioctl",
        )
    }
}

#[async_trait]
impl Side for Machines {
    async fn look(&self) -> SideReport {
        let version = match self.helper.version().await {
            Ok(version) => version,
            Err(error) => return SideReport::none(error.to_string()),
        };
        let found = self.images.look();
        let qemu = self.qemu.look().await;
        let capability = match (&qemu, self.user_problem()) {
            (Err(because), _) => Capability::no(because),
            (Ok(_), Some(because)) => Capability::no(because),
            (Ok(_), None) => Capability::yes(),
        };
        let mut problems = found.problems;
        problems.extend(self.kvm_problem().map(str::to_owned));
        problems.extend(self.network_problem().await);
        problems.extend(self.sweep().await);
        SideReport {
            capability,
            engine: None,
            images: found.images,
            default_image: found.default,
            helper: Some(version),
            qemu: qemu.ok(),
            problems,
        }
    }

    async fn read_log(&self, order: &LogOrder) -> Result<Option<Bytes>, String> {
        let folder = self.folders.of(&order.task);
        match folder.exists() {
            true => Ok(Some(log::read(self.helper.clone(), folder, order))),
            false => Ok(None),
        }
    }
}

#[async_trait]
impl Backend for Machines {
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
