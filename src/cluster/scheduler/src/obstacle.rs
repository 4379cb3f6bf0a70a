//! Obstacles: what stands in the way of a task on a node, and who.

use std::fmt;

use vfioctl_api::{GpuNumber, ImageName, NodeName, Problem, ProblemCode, TaskId, UserName};

use crate::allocation::Use;
use crate::room::HeldBy;

/// What stands in the way of a task on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// There is no such node.
    NoSuchNode(NodeName),
    /// The node is not there.
    Offline(NodeName),
    /// Nothing new is placed on it.
    Drained(NodeName),
    /// It has never so many processors.
    FewerCores {
        /// The node.
        node: NodeName,
        /// What it has.
        has: u32,
    },
    /// It has never so much memory.
    LessMemory {
        /// The node.
        node: NodeName,
        /// What it has for tasks, in MiB.
        has_mib: u64,
    },
    /// It has no such NUMA node.
    NoNuma {
        /// The node.
        node: NodeName,
        /// The NUMA node.
        numa: u32,
    },
    /// It has no such GPU.
    NoGpu {
        /// The node.
        node: NodeName,
        /// The GPU.
        gpu: GpuNumber,
        /// How many it has.
        has: usize,
    },
    /// It has never so many GPUs of that kind.
    FewerGpus {
        /// The node.
        node: NodeName,
        /// How many of that kind it has.
        has: usize,
    },
    /// It has no such image.
    NoImage {
        /// The node.
        node: NodeName,
        /// The image; absent: none was named and there is no default.
        image: Option<ImageName>,
    },
    /// It cannot run containers, or machines.
    NotCapable {
        /// The node.
        node: NodeName,
        /// Whether it is about machines.
        machines: bool,
        /// Why, as the node says.
        reason: String,
    },
    /// Its processors are taken.
    CoresTaken {
        /// The node.
        node: NodeName,
        /// What is free.
        free: u32,
    },
    /// Its memory is taken.
    MemoryTaken {
        /// The node.
        node: NodeName,
        /// What is free, in MiB.
        free_mib: u64,
    },
    /// A GPU is not in its place.
    GpuMissing {
        /// The node.
        node: NodeName,
        /// The GPU.
        gpu: GpuNumber,
    },
    /// A task has the GPU.
    GpuTaken {
        /// The node.
        node: NodeName,
        /// The GPU.
        gpu: GpuNumber,
        /// The GPU that the task has, where it is another one that cannot be kept apart.
        through: Option<GpuNumber>,
        /// The task.
        task: TaskId,
        /// Whose it is.
        owner: UserName,
        /// How it uses it.
        gpu_use: Use,
    },
    /// The node says that the GPU cannot be had.
    GpuRefused {
        /// The node.
        node: NodeName,
        /// The GPU.
        gpu: GpuNumber,
        /// Why, as the node says.
        reason: String,
    },
    /// Too few GPUs of that kind are free.
    GpusTaken {
        /// The node.
        node: NodeName,
        /// How many are.
        free: usize,
    },
    /// Several nodes, and something on each.
    Everywhere {
        /// How many nodes there are.
        nodes: usize,
        /// What stands in the way on the one that is nearest.
        nearest: Option<Box<Obstacle>>,
    },
}

impl Obstacle {
    pub(crate) fn taken(
        node: NodeName,
        gpu: GpuNumber,
        through: Option<GpuNumber>,
        holder: &HeldBy,
    ) -> Self {
        Self::GpuTaken {
            node,
            gpu,
            through,
            task: holder.task.clone(),
            owner: holder.owner.clone(),
            gpu_use: holder.gpu_use,
        }
    }

    /// Whether it stays for ever, as long as the node is what it is.
    pub fn is_for_ever(&self) -> bool {
        match self {
            Self::NoSuchNode(_)
            | Self::FewerCores { .. }
            | Self::LessMemory { .. }
            | Self::NoNuma { .. }
            | Self::NoGpu { .. }
            | Self::FewerGpus { .. }
            | Self::NoImage { .. }
            | Self::NotCapable { .. } => true,
            Self::Offline(_)
            | Self::Drained(_)
            | Self::CoresTaken { .. }
            | Self::MemoryTaken { .. }
            | Self::GpuMissing { .. }
            | Self::GpuTaken { .. }
            | Self::GpuRefused { .. }
            | Self::GpusTaken { .. } => false,
            // The first node of a cluster may come the next moment.
            Self::Everywhere { nearest, .. } => nearest.as_ref().is_some_and(|n| n.is_for_ever()),
        }
    }

    /// The problem that a caller is told.
    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::NoSuchNode(_) => ProblemCode::NotFound,
            Self::Offline(_) => ProblemCode::NodeOffline,
            Self::GpuTaken { .. } | Self::GpuRefused { .. } | Self::GpuMissing { .. } => {
                ProblemCode::Taken
            }
            Self::Drained(_)
            | Self::CoresTaken { .. }
            | Self::MemoryTaken { .. }
            | Self::GpusTaken { .. } => ProblemCode::NoRoom,
            Self::Everywhere { .. } if !self.is_for_ever() => ProblemCode::NoRoom,
            _ => ProblemCode::Impossible,
        };
        Problem::new(code, self.to_string()).hint(self.hint())
    }

    fn hint(&self) -> String {
        match self {
            Self::NoSuchNode(_) => "choose one of 'vfioctl node list'".into(),
            Self::Offline(node) => {
                format!("look at its runner there: 'systemctl status vfioctl-runner' on {node}")
            }
            Self::Drained(node) => format!(
                "choose another node, or let it take work again: 'vfioctl node resume {node}'"
            ),
            Self::NoImage { node, .. } => {
                format!(
                    "see what it has with 'vfioctl node status {node}', or bring an image there: 'vfioctl image import FILE'"
                )
            }
            Self::NotCapable { node, .. } => format!("run 'vfioctl check' on {node}"),
            Self::GpuTaken { .. } => {
                "choose another GPU of 'vfioctl gpu list', wait with '--queue', or ask its owner"
                    .into()
            }
            Self::GpuRefused { node, .. } | Self::GpuMissing { node, .. } => {
                format!("see 'vfioctl node status {node}'")
            }
            Self::CoresTaken { .. } | Self::MemoryTaken { .. } | Self::GpusTaken { .. } => {
                "ask for less, choose another node, or wait with '--queue'".into()
            }
            Self::Everywhere {
                nearest: Some(nearest),
                ..
            } => nearest.hint(),
            Self::Everywhere { nearest: None, .. } => {
                "invite one: 'vfioctl node invite NODE'".into()
            }
            Self::FewerCores { .. }
            | Self::LessMemory { .. }
            | Self::NoNuma { .. }
            | Self::NoGpu { .. }
            | Self::FewerGpus { .. } => "ask for what a node of 'vfioctl node list' has".into(),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode(node) => write!(f, "there is no node '{node}'"),
            Self::Offline(node) => write!(f, "node '{node}' is offline"),
            Self::Drained(node) => {
                write!(f, "node '{node}' is drained: nothing new is placed on it")
            }
            Self::FewerCores { node, has } => write!(f, "node '{node}' has {has} cores in all"),
            Self::LessMemory { node, has_mib } => {
                write!(
                    f,
                    "node '{node}' has {has_mib} MiB of memory for tasks in all"
                )
            }
            Self::NoNuma { node, numa } => write!(f, "node '{node}' has no NUMA node {numa}"),
            Self::NoGpu { node, gpu, has } => {
                write!(f, "node '{node}' has no GPU {gpu}; it has {has}")
            }
            Self::FewerGpus { node, has } => {
                write!(f, "node '{node}' has {has} GPUs of that kind in all")
            }
            Self::NoImage {
                node,
                image: Some(image),
            } => write!(f, "node '{node}' has no image '{image}'"),
            Self::NoImage { node, image: None } => {
                write!(f, "node '{node}' has no image for machines")
            }
            Self::NotCapable {
                node,
                machines,
                reason,
            } => {
                let what = if *machines { "machines" } else { "containers" };
                write!(f, "node '{node}' cannot run {what}: {reason}")
            }
            Self::CoresTaken { node, free } => write!(f, "node '{node}' has {free} cores free"),
            Self::MemoryTaken { node, free_mib } => {
                write!(f, "node '{node}' has {free_mib} MiB of memory free")
            }
            Self::GpuMissing { node, gpu } => {
                write!(f, "GPU {gpu} of node '{node}' is not in its place")
            }
            Self::GpuTaken {
                node,
                gpu,
                through,
                task,
                owner,
                gpu_use,
            } => {
                let what = match gpu_use {
                    Use::Shared => "container",
                    Use::Exclusive => "container (exclusive)",
                    Use::Machine => "machine",
                };
                match through {
                    Some(through) => write!(
                        f,
                        "GPU {gpu} of node '{node}' cannot be kept apart from GPU {through}, \
                         which {what} '{task}' of {owner} has"
                    ),
                    None => write!(
                        f,
                        "{what} '{task}' of {owner} has GPU {gpu} of node '{node}'"
                    ),
                }
            }
            Self::GpuRefused { node, gpu, reason } => {
                write!(f, "GPU {gpu} of node '{node}' cannot be had: {reason}")
            }
            Self::GpusTaken { node, free } => {
                write!(f, "node '{node}' has {free} GPUs of that kind free")
            }
            Self::Everywhere { nodes: 0, .. } => f.write_str("the cluster has no node yet"),
            Self::Everywhere { nodes, nearest } => {
                write!(f, "none of {nodes} nodes can take it")?;
                match nearest {
                    Some(nearest) => write!(f, "; for one, {nearest}"),
                    None => Ok(()),
                }
            }
        }
    }
}
