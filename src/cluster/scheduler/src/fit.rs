//! Whether a task fits on a node, and with which GPUs.
//!
//! Many nodes are asked for each task, so nothing is made here that is not needed for the answer:
//! what stands in the way is told by reference, and put into words for one node at most.

use vfioctl_api::GpuNumber;

use crate::allocation::Use;
use crate::obstacle::Obstacle;
use crate::room::{Demand, GpuKind, GpuRoom, HeldBy, Room};

/// What stands in the way on a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop<'r> {
    NotCapable,
    FewerCores,
    LessMemory,
    NoNuma(u32),
    NoGpu(GpuNumber),
    FewerGpus(usize),
    NoImage,
    Offline,
    Drained,
    CoresTaken,
    MemoryTaken,
    GpuMissing(GpuNumber),
    GpuTaken {
        gpu: GpuNumber,
        through: Option<GpuNumber>,
        holder: &'r HeldBy,
    },
    GpuRefused(&'r GpuRoom),
    GpusTaken(usize),
}

impl Stop<'_> {
    /// Whether no passing of time mends it.
    pub(crate) fn is_for_ever(self) -> bool {
        match self {
            Self::NotCapable
            | Self::FewerCores
            | Self::LessMemory
            | Self::NoNuma(_)
            | Self::NoGpu(_)
            | Self::FewerGpus(_)
            | Self::NoImage => true,
            Self::Offline
            | Self::Drained
            | Self::CoresTaken
            | Self::MemoryTaken
            | Self::GpuMissing(_)
            | Self::GpuTaken { .. }
            | Self::GpuRefused(_)
            | Self::GpusTaken(_) => false,
        }
    }

    /// The same, for telling it.
    pub(crate) fn obstacle(self, room: &Room, demand: &Demand<'_>) -> Obstacle {
        let node = room.node.clone();
        let machines = demand.is_machine();
        let reason_of = |capability: &vfioctl_api::Capability| {
            let reason = capability.reason.clone();
            reason.unwrap_or_else(|| "its node does not say why".into())
        };
        match self {
            Self::NotCapable => Obstacle::NotCapable {
                node,
                machines,
                reason: reason_of(room.capability(machines)),
            },
            Self::FewerCores => Obstacle::FewerCores {
                node,
                has: room.cores,
            },
            Self::LessMemory => Obstacle::LessMemory {
                node,
                has_mib: room.memory_mib,
            },
            Self::NoNuma(numa) => Obstacle::NoNuma { node, numa },
            Self::NoGpu(gpu) => Obstacle::NoGpu {
                node,
                gpu,
                has: room.gpus.len(),
            },
            Self::FewerGpus(has) => Obstacle::FewerGpus { node, has },
            Self::NoImage => Obstacle::NoImage {
                node,
                image: demand.image.cloned(),
            },
            Self::Offline => Obstacle::Offline(node),
            Self::Drained => Obstacle::Drained(node),
            Self::CoresTaken => Obstacle::CoresTaken {
                node,
                free: room.cores_free,
            },
            Self::MemoryTaken => Obstacle::MemoryTaken {
                node,
                free_mib: room.memory_free_mib,
            },
            Self::GpuMissing(gpu) => Obstacle::GpuMissing { node, gpu },
            Self::GpuTaken {
                gpu,
                through,
                holder,
            } => Obstacle::taken(node, gpu, through, holder),
            Self::GpuRefused(gpu) => Obstacle::GpuRefused {
                node,
                gpu: gpu.number,
                reason: reason_of(gpu.capability(machines)),
            },
            Self::GpusTaken(free) => Obstacle::GpusTaken { node, free },
        }
    }
}

/// Whether a task fits on a node now; and where it does, how many already share the GPUs it would
/// get.
///
/// # Errors
/// What stands in the way; what stays for ever is told before what passes, and GPUs that
/// were named before what any node has.
pub(crate) fn fit<'r>(room: &'r Room, demand: &Demand<'_>) -> Result<usize, Stop<'r>> {
    check_for_ever(room, demand)?;
    if !room.is_online {
        return Err(Stop::Offline);
    }
    if room.is_drained {
        return Err(Stop::Drained);
    }
    let mut sharers = 0;
    for number in demand.named() {
        let gpu = room.gpu(*number).ok_or(Stop::NoGpu(*number))?;
        check_gpu(room, gpu, demand.gpu_use)?;
        sharers += gpu.holders.len();
    }
    if demand.cores > room.cores_free {
        return Err(Stop::CoresTaken);
    }
    if demand.memory_on(room) > room.memory_free_mib {
        return Err(Stop::MemoryTaken);
    }
    Ok(sharers + fit_described(room, demand)?)
}

/// What no passing of time mends.
fn check_for_ever<'r>(room: &'r Room, demand: &Demand<'_>) -> Result<(), Stop<'r>> {
    if !room.capability(demand.is_machine()).available {
        return Err(Stop::NotCapable);
    }
    if demand.cores > room.cores {
        return Err(Stop::FewerCores);
    }
    if demand.memory_on(room) > room.memory_mib {
        return Err(Stop::LessMemory);
    }
    if let Some(numa) = demand.target.and_then(|target| target.numa)
        && !room.numa.contains(&numa)
        // A machine with one NUMA node reports none: its only one is 0.
        && !(room.numa.is_empty() && numa == 0)
    {
        return Err(Stop::NoNuma(numa));
    }
    let named = demand.named().iter();
    if let Some(gpu) = named.copied().find(|gpu| room.gpu(*gpu).is_none()) {
        return Err(Stop::NoGpu(gpu));
    }
    if let Some(described) = demand.described {
        let has = kinds(room, demand).map(|kind| kind.all).sum();
        if has < usize::from(described.count) {
            return Err(Stop::FewerGpus(has));
        }
    }
    let has_image = match demand.image {
        Some(image) => room.images.contains(image),
        None => room.has_default_image,
    };
    if demand.is_machine() && !has_image {
        return Err(Stop::NoImage);
    }
    Ok(())
}

/// Whether a GPU can be had in this way now.
pub(crate) fn check_gpu<'r>(
    room: &'r Room,
    gpu: &'r GpuRoom,
    gpu_use: Use,
) -> Result<(), Stop<'r>> {
    if !gpu.is_present {
        return Err(Stop::GpuMissing(gpu.number));
    }
    let taken = |through, holder| Stop::GpuTaken {
        gpu: gpu.number,
        through,
        holder,
    };
    let stands_beside = |other: Use| gpu_use == Use::Shared && other == Use::Shared;
    if let Some(holder) = gpu.holders.iter().find(|h| !stands_beside(h.gpu_use)) {
        return Err(taken(None, holder));
    }
    // What cannot be kept apart is in one machine, or in none.
    let is_in_the_way = |other: Use| gpu_use == Use::Machine || other == Use::Machine;
    for mate in gpu.together.iter().filter_map(|number| room.gpu(*number)) {
        if let Some(holder) = mate.holders.iter().find(|h| is_in_the_way(h.gpu_use)) {
            return Err(taken(Some(mate.number), holder));
        }
    }
    match gpu.capability(gpu_use == Use::Machine).available {
        true => Ok(()),
        false => Err(Stop::GpuRefused(gpu)),
    }
}

/// Whether a GPU is as described.
fn is_as_described(demand: &Demand<'_>, name: &str, memory_mib: Option<u64>) -> bool {
    let least = demand.described.and_then(|described| described.memory_min);
    demand
        .model
        .as_ref()
        .is_none_or(|model| model.find(name.as_bytes()).is_some())
        && least.is_none_or(|least| memory_mib.is_some_and(|has| has >= least.mib()))
}

/// The kinds of GPUs that are as described.
fn kinds<'r>(room: &'r Room, demand: &Demand<'_>) -> impl Iterator<Item = &'r GpuKind> {
    let is_wanted = |kind: &&GpuKind| is_as_described(demand, &kind.name, kind.memory_mib);
    room.kinds.iter().filter(is_wanted)
}

/// The GPUs that are as described and can be had.
fn fitting<'r>(room: &'r Room, demand: &Demand<'_>) -> impl Iterator<Item = &'r GpuRoom> {
    room.gpus.iter().filter(|gpu| {
        is_as_described(demand, &gpu.name, gpu.memory_mib)
            && check_gpu(room, gpu, demand.gpu_use).is_ok()
    })
}

/// How many already share the GPUs that would be chosen.
fn fit_described<'r>(room: &'r Room, demand: &Demand<'_>) -> Result<usize, Stop<'r>> {
    let Some(described) = demand.described else {
        return Ok(0);
    };
    let mut wanted = usize::from(described.count);
    let idle: usize = kinds(room, demand)
        .map(|kind| kind.idle(demand.is_machine()))
        .sum();
    if idle >= wanted {
        return Ok(0);
    }
    // By how many share them; those with more than that are not told apart here.
    let mut counts = [0_usize; 8];
    let mut all = 0;
    for gpu in fitting(room, demand) {
        let last = counts.len() - 1;
        if let Some(count) = counts.get_mut(gpu.holders.len().min(last)) {
            *count += 1;
        }
        all += 1;
    }
    if all < wanted {
        return Err(Stop::GpusTaken(all));
    }
    let mut sharers = 0;
    for (holders, count) in counts.into_iter().enumerate() {
        let taken = wanted.min(count);
        sharers += taken * holders;
        wanted -= taken;
    }
    Ok(sharers)
}

/// The GPUs that a task gets on a node that it fits on: those that nobody has before those that are
/// shared, and last those whose choice would reserve others.
pub(crate) fn choose_gpus(room: &Room, demand: &Demand<'_>) -> Vec<GpuNumber> {
    let mut chosen = demand.named().to_vec();
    if let Some(described) = demand.described {
        let mut fitting: Vec<&GpuRoom> = fitting(room, demand).collect();
        fitting.sort_by_key(|gpu| (gpu.holders.len(), gpu.together.len(), gpu.number));
        let count = usize::from(described.count);
        chosen.extend(fitting.iter().take(count).map(|gpu| gpu.number));
    }
    chosen
}
