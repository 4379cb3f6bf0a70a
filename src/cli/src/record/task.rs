//! Records of tasks and servers in a cluster.

use std::collections::BTreeMap;

use serde::Serialize;
use vfioctl_api::{Backend, GpuMode, Kind, Moment, Task, TaskState};

/// The answers of `vfioctl task` and `vfioctl vps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum TasksRecord {
    /// One task.
    One {
        /// The task.
        task: Box<TaskRecord>,
        /// Whether people only want to know how it stands.
        #[serde(skip)]
        is_short: bool,
    },
    /// `list`, and `wait` for several.
    Many {
        /// The tasks.
        tasks: Vec<TaskRecord>,
        /// Whether there are more.
        more: bool,
        /// How the list is laid out for people.
        #[serde(skip)]
        layout: Layout,
    },
    /// `rm`.
    Removed {
        /// Number of the task that is forgotten.
        removed: String,
    },
}

/// How a list is laid out for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Commands, with what they run.
    Commands,
    /// Servers, with how they are reached.
    Servers,
    /// Only what tells one from another.
    Compact,
}

/// A task, or a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TaskRecord {
    /// Its number.
    pub(crate) id: String,
    /// `command`, or `vps`.
    pub(crate) kind: &'static str,
    /// What its user calls it.
    pub(crate) name: Option<String>,
    /// Who asked for it.
    pub(crate) owner: String,
    /// Where it is in its life.
    pub(crate) state: TaskState,
    /// Why it is there, as a sentence.
    pub(crate) reason: Option<String>,
    /// How it goes on just now, as a sentence.
    pub(crate) progress: Option<String>,
    /// Its node, once it has one.
    pub(crate) node: Option<String>,
    /// Numbers of its GPUs on that node.
    pub(crate) gpus: Vec<u16>,
    /// How often it was started.
    pub(crate) run: u32,
    /// How it ended.
    pub(crate) exit: Option<ExitRecord>,
    /// How it is reached by SSH.
    pub(crate) ssh: Option<SshRecord>,
    /// When it was submitted, in seconds since 1970.
    pub(crate) submitted: u64,
    /// When it was given to its node.
    pub(crate) assigned: Option<u64>,
    /// When it began to run.
    pub(crate) started: Option<u64>,
    /// When it ended.
    pub(crate) ended: Option<u64>,
    /// What was asked for.
    pub(crate) asked: AskedRecord,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AskedRecord {
    /// Where it shall go.
    pub(crate) target: Option<String>,
    /// GPUs that are described and not named.
    pub(crate) gpus: Option<GpuRequestRecord>,
    /// `shared`, or `exclusive`.
    pub(crate) gpu_mode: &'static str,
    /// Processors.
    pub(crate) cores: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: Option<u64>,
    /// Whether it waits for a place.
    pub(crate) queue: bool,
    /// Public keys that may come in by SSH; null: it is not reached so.
    pub(crate) ssh_keys: Option<Vec<String>>,
    /// The container.
    pub(crate) container: Option<ContainerRecord>,
    /// The machine.
    pub(crate) machine: Option<VmRequestRecord>,
}

/// GPUs that are described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GpuRequestRecord {
    /// How many.
    pub(crate) count: u16,
    /// A part of the model's name.
    pub(crate) model: Option<String>,
    /// The least memory of each, in MiB.
    pub(crate) memory_min_mib: Option<u64>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ContainerRecord {
    /// What it runs.
    pub(crate) command: Vec<String>,
    /// Its image.
    pub(crate) image: Option<String>,
    /// Its archive.
    pub(crate) archive: Option<String>,
    /// Folders of the node.
    pub(crate) mounts: Vec<String>,
    /// Its environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Folder that it starts in.
    pub(crate) working_folder: Option<String>,
    /// Whether it may do everything.
    pub(crate) privileged: bool,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct VmRequestRecord {
    /// Its base image; null: its node's default.
    pub(crate) image: Option<String>,
    /// Size of its disk in GiB; null: that of the image.
    pub(crate) disk_gib: Option<u32>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ExitRecord {
    /// Its exit status, as a shell shows it.
    pub(crate) status: i64,
    /// Whether it used more memory than it was given.
    pub(crate) out_of_memory: bool,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SshRecord {
    /// Address of the node.
    pub(crate) address: String,
    /// TCP port there.
    pub(crate) port: u16,
    /// The user to log in as.
    pub(crate) user: String,
    /// The server's public key.
    pub(crate) host_key: String,
}

/// A moment of the interface in seconds.
pub(super) fn seconds(moment: Moment) -> u64 {
    moment / 1000
}

impl TasksRecord {
    /// Everything about a task.
    pub(crate) fn one(task: Task) -> Self {
        Self::One {
            task: Box::new(task.into()),
            is_short: false,
        }
    }

    /// How a task stands now.
    pub(crate) fn short(task: Task) -> Self {
        Self::One {
            task: Box::new(task.into()),
            is_short: true,
        }
    }
}

impl From<Task> for TaskRecord {
    fn from(task: Task) -> Self {
        let submission = task.submission;
        let (container, machine) = match submission.backend {
            Backend::Container(container) => (Some(container.into()), None),
            Backend::Machine(machine) => {
                let image = machine.image.map(String::from);
                let disk_gib = machine.disk_gib;
                (None, Some(VmRequestRecord { image, disk_gib }))
            }
        };
        let asked = AskedRecord {
            target: submission.target.map(|target| target.to_string()),
            gpus: submission.gpus.map(|gpus| GpuRequestRecord {
                count: gpus.count,
                model: gpus.model,
                memory_min_mib: gpus.memory_min.map(|memory| memory.mib()),
            }),
            gpu_mode: match submission.gpu_mode {
                GpuMode::Shared => "shared",
                GpuMode::Exclusive => "exclusive",
            },
            cores: submission.cores,
            memory_mib: submission.memory.map(|memory| memory.mib()),
            queue: submission.queue,
            ssh_keys: submission.ssh.map(|ssh| ssh.keys),
            container,
            machine,
        };
        Self {
            id: task.id.into(),
            kind: match submission.kind {
                Kind::Command => "command",
                Kind::Vps => "vps",
            },
            name: submission.name.map(String::from),
            owner: task.owner.into(),
            state: task.state,
            reason: task.reason,
            progress: task.progress,
            node: task.node.map(String::from),
            gpus: task.gpus.into_iter().map(|gpu| gpu.get()).collect(),
            run: task.run,
            exit: task.exit.map(|exit| ExitRecord {
                status: exit.status,
                out_of_memory: exit.out_of_memory,
            }),
            ssh: task.ssh.map(|ssh| SshRecord {
                address: ssh.address,
                port: ssh.port,
                user: ssh.user,
                host_key: ssh.host_key,
            }),
            submitted: seconds(task.submitted),
            assigned: task.assigned.map(seconds),
            started: task.started.map(seconds),
            ended: task.ended.map(seconds),
            asked,
        }
    }
}

impl From<vfioctl_api::Container> for ContainerRecord {
    fn from(container: vfioctl_api::Container) -> Self {
        Self {
            command: container.command,
            image: container.image,
            archive: container.archive.map(String::from),
            mounts: container.mounts.into_iter().map(String::from).collect(),
            environment: container.environment,
            working_folder: container.working_folder,
            privileged: container.privileged,
        }
    }
}
