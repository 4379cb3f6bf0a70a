//! Work in a cluster: the options that tasks and servers have in common.

use std::fmt;
use std::str::FromStr;

use clap::{ArgAction, Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use vfioctl_api::{ArchiveName, GpuMode, MemorySize, Mount, Target, TaskName};

use crate::cluster::{TaskReference, complete_target, complete_task};

/// A task that a verb is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct OneTask {
    /// The task: its number, the beginning of it (4 signs at least), or its name.
    #[arg(value_name = "TASK", add = ArgValueCompleter::new(complete_task))]
    pub(crate) task: TaskReference,
}

/// Where work shall go, and what it needs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Needs {
    /// Where it shall go: NODE, NODE:NUMA, NODE::GPUS or NODE:NUMA::GPUS, as mynode::0,1.
    ///
    /// NUMA is the NUMA node of its processors and memory, GPUS are numbers of GPUs on that node, as
    /// 'vfioctl gpu list' shows them. Without a target, the cluster chooses.
    #[arg(short, long, value_name = "TARGET", add = ArgValueCompleter::new(complete_target))]
    pub(crate) target: Option<Target>,
    /// Processors.
    #[arg(short, long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) cores: u32,
    /// Memory: 32G, 512M, or a number of MiB. Without it, a container has no limit, and a machine
    /// what its node gives by default.
    #[arg(short, long, value_name = "SIZE")]
    pub(crate) memory: Option<MemorySize>,
    /// GPUs that it needs, wherever the cluster finds them.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) gpus: Option<u16>,
    /// With --gpus: a part of the model's name, as 4090.
    #[arg(long, value_name = "TEXT", requires = "gpus")]
    pub(crate) gpu_model: Option<String>,
    /// With --gpus: the least memory that each has.
    #[arg(long, value_name = "SIZE", requires = "gpus")]
    pub(crate) memory_min: Option<MemorySize>,
    /// Whether other containers may use its GPUs too; a machine never shares.
    #[arg(long, value_name = "MODE", default_value = "shared")]
    pub(crate) gpu_mode: GpuModeArgument,
    /// Wait for a place where there is none now, instead of being refused. A command whose target
    /// names no GPUs always waits.
    #[arg(long)]
    pub(crate) queue: bool,
    /// What you call it: lower-case letters, digits and inner dashes.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<TaskName>,
}

/// What a container is made of.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ContainerArgs {
    /// Image of a registry, or one that the node has.
    #[arg(long, value_name = "IMAGE", conflicts_with = "container")]
    pub(crate) image: Option<String>,
    /// Archive in the node's folder of archives, instead of an image.
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Option<ArchiveName>,
    /// Folder of the node that the container sees: /ON/NODE[:/IN/CONTAINER[:ro]]. May be repeated.
    #[arg(long, value_name = "MOUNT")]
    pub(crate) mount: Vec<Mount>,
    /// Variable of its environment: NAME=VALUE, or NAME for what it is here. May be repeated.
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) environment: Vec<VariableArgument>,
    /// Folder that it starts in.
    #[arg(long = "workdir", value_name = "FOLDER")]
    pub(crate) working_folder: Option<String>,
    /// Let it do everything on its node; where the node's administrator allows that.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) privileged: bool,
}

/// Whether containers share GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum GpuModeArgument {
    /// With any other container that shares.
    #[default]
    Shared,
    /// With nobody.
    Exclusive,
}

impl From<GpuModeArgument> for GpuMode {
    fn from(mode: GpuModeArgument) -> Self {
        match mode {
            GpuModeArgument::Shared => Self::Shared,
            GpuModeArgument::Exclusive => Self::Exclusive,
        }
    }
}

/// A variable of an environment, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariableArgument {
    /// Its name.
    pub(crate) name: String,
    /// Its value; none: the one that it has here.
    pub(crate) value: Option<String>,
}

/// The text has no name of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoVariable;

impl FromStr for VariableArgument {
    type Err = NoVariable;

    fn from_str(text: &str) -> Result<Self, NoVariable> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        match name.is_empty() {
            true => Err(NoVariable),
            false => Ok(Self {
                name: name.to_owned(),
                value,
            }),
        }
    }
}

impl fmt::Display for NoVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a variable is NAME=VALUE, or NAME for what it is here")
    }
}

impl std::error::Error for NoVariable {}
