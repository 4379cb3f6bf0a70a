//! Placing: which node a task goes to.

use vfioctl_api::{GpuNumber, Moment, NodeName, TaskId, UserName};

use crate::allocation::Share;
use crate::fit::{Stop, check_gpu, choose_gpus, fit};
use crate::obstacle::Obstacle;
use crate::room::{Demand, Room};

/// Where a task can go now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The node.
    pub node: NodeName,
    /// Its GPUs there.
    pub gpus: Vec<GpuNumber>,
    /// What it will hold there.
    pub share: Share,
}

/// What a task can expect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It can go there now.
    Now(Placement),
    /// It could go somewhere, and this stands in the way now.
    Later(Obstacle),
    /// No node could ever take it.
    Never(Obstacle),
}

/// A task that waits.
#[derive(Debug, Clone)]
pub struct Queued<'a> {
    /// The task.
    pub id: &'a TaskId,
    /// Whose it is.
    pub owner: &'a UserName,
    /// What it needs.
    pub demand: Demand<'a>,
    /// Not to be tried before.
    pub not_before: Moment,
}

/// Decides where a task goes.
pub fn place<'r>(
    rooms: impl IntoIterator<Item = &'r Room>,
    owner: &UserName,
    demand: &Demand<'_>,
) -> Decision {
    choose(rooms, owner, demand).map_or_else(
        |obstacle| match obstacle.is_for_ever() {
            true => Decision::Never(obstacle),
            false => Decision::Later(obstacle),
        },
        |(placement, _)| Decision::Now(placement),
    )
}

/// Decides where waiting tasks go: each in turn, the first first. One that does not fit keeps none
/// behind it from fitting. What is decided is taken from the rooms.
pub fn place_all<'q>(
    rooms: &mut [Room],
    queue: impl IntoIterator<Item = Queued<'q>>,
    now: Moment,
) -> Vec<(TaskId, Result<Placement, Obstacle>)> {
    let mut decisions = Vec::new();
    for queued in queue {
        if queued.not_before > now {
            continue;
        }
        let choice = choose(rooms.iter(), queued.owner, &queued.demand);
        let decision = choice.map(|(placement, index)| {
            if let Some(room) = rooms.get_mut(index) {
                room.take(queued.id, &placement.share);
            }
            placement
        });
        decisions.push((queued.id.clone(), decision));
    }
    decisions
}

/// Whether a decision still holds: nobody has taken the room or the GPUs meanwhile.
pub fn still_fits(room: Option<&Room>, demand: &Demand<'_>, gpus: &[GpuNumber]) -> bool {
    room.is_some_and(|room| {
        let can_be_had = |number: &GpuNumber| {
            let gpu = room.gpu(*number);
            gpu.is_some_and(|gpu| check_gpu(room, gpu, demand.gpu_use).is_ok())
        };
        fit(room, demand).is_ok() && gpus.iter().all(can_be_had)
    })
}

/// The best node for a task, with its place in the list.
fn choose<'r>(
    rooms: impl IntoIterator<Item = &'r Room>,
    owner: &UserName,
    demand: &Demand<'_>,
) -> Result<(Placement, usize), Obstacle> {
    let wanted = demand.target.map(|target| &target.node);
    let mut best: Option<(Rank, &Room, usize)> = None;
    let mut nearest: Option<(Stop<'_>, &Room)> = None;
    let mut count = 0;
    for (index, room) in rooms.into_iter().enumerate() {
        if wanted.is_some_and(|node| *node != room.node) {
            continue;
        }
        count += 1;
        // Once there is a node, only better ones are of interest, and few need be asked for that.
        let at_best = Rank::of(room, demand, 0);
        if best.as_ref().is_some_and(|(least, ..)| at_best >= *least) {
            continue;
        }
        match fit(room, demand) {
            Ok(sharers) => {
                let rank = Rank { sharers, ..at_best };
                if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                    best = Some((rank, room, index));
                }
            }
            Err(stop) => {
                let is_nearer =
                    |(other, _): (Stop<'_>, _)| other.is_for_ever() && !stop.is_for_ever();
                if nearest.is_none_or(is_nearer) {
                    nearest = Some((stop, room));
                }
            }
        }
    }
    if let Some((_, room, index)) = best {
        let gpus = choose_gpus(room, demand);
        let share = Share::new(owner, demand, room, &gpus);
        let node = room.node.clone();
        return Ok((Placement { node, gpus, share }, index));
    }
    let nearest = nearest.map(|(stop, room)| stop.obstacle(room, demand));
    Err(match (wanted, nearest) {
        (Some(node), None) => Obstacle::NoSuchNode(node.clone()),
        (Some(_), Some(obstacle)) => obstacle,
        (None, nearest) => Obstacle::Everywhere {
            nodes: count,
            nearest: nearest.map(Box::new),
        },
    })
}

/// How good a node is for a task; the least is the best.
///
/// GPUs that nobody shares come first, then nodes whose GPUs the task does not need stay free for
/// others, and then the fullest node is filled, so that whole nodes stay free for large tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    sharers: usize,
    idle_gpus: usize,
    gpus_free: usize,
    cores_free: u32,
}

impl Rank {
    fn of(room: &Room, demand: &Demand<'_>, sharers: usize) -> Self {
        let needs_none = demand.gpu_count() == 0;
        Self {
            sharers,
            idle_gpus: if needs_none { room.gpus.len() } else { 0 },
            gpus_free: room.gpus_free,
            cores_free: room.cores_free,
        }
    }
}

#[cfg(test)]
mod tests;
