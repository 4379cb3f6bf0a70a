//! Allocations: who holds what on a node, as the hosts have given it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vfioctl_api::{GpuMode, GpuNumber, TaskId, UserName};

use crate::room::{Demand, Room};

/// Who holds what on a node. It is kept under one key, so that giving something away twice is a
/// conflict in the store and nothing else can be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allocation {
    /// By task.
    pub shares: BTreeMap<TaskId, Share>,
}

/// What one task holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Whose task it is.
    pub owner: UserName,
    /// Processors.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuNumber>,
    /// How it uses them.
    pub gpu_use: Use,
}

/// How GPUs are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// By a container, beside others.
    Shared,
    /// By a container alone.
    Exclusive,
    /// By a machine, which also takes what cannot be kept apart from them.
    Machine,
}

impl Use {
    /// How a task uses its GPUs.
    pub fn of(is_machine: bool, mode: GpuMode) -> Self {
        match (is_machine, mode) {
            (true, _) => Self::Machine,
            (false, GpuMode::Shared) => Self::Shared,
            (false, GpuMode::Exclusive) => Self::Exclusive,
        }
    }
}

impl Share {
    /// What a task will hold that gets these GPUs of a node.
    pub fn new(owner: &UserName, demand: &Demand<'_>, room: &Room, gpus: &[GpuNumber]) -> Self {
        Self {
            owner: owner.clone(),
            cores: demand.cores,
            memory_mib: demand.memory_on(room),
            gpus: gpus.to_vec(),
            gpu_use: demand.gpu_use,
        }
    }
}
