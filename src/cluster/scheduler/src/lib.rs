//! Decides in a cluster: where work goes, and what becomes of it.
//!
//! Like `vfioctl-core` for one machine, this crate turns values into values. It asks no clock, no
//! network and no store: whoever calls it holds a [`Record`] of a task, the [`Room`] of each node,
//! and writes down what it is told, or finds that somebody else was faster and asks again.
//!
//! [`place`] answers where a task can go, or what stands in the way and who. [`life`] answers what a
//! task is after something has happened to it. [`Allocation`] is who holds what on a node.
#![forbid(unsafe_code)]

mod allocation;
mod fit;
pub mod life;
mod obstacle;
mod place;
mod record;
mod room;
#[cfg(test)]
mod sample;

pub use allocation::{Allocation, Share, Use};
pub use obstacle::Obstacle;
pub use place::{Decision, Placement, Queued, place, place_all, still_fits};
pub use record::Record;
pub use room::{Demand, GpuRoom, Room};
