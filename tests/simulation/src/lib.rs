//! A cluster that is simulated: hosts and runners are the real ones, nodes are made up, time stands
//! still but where it is moved, and everything goes wrong that can.
//!
//! A [`Schedule`] is made of one number, the seed: who submits what and when, which messages are lost,
//! which processes are killed, which disks are full. The same seed gives the same schedule. While it
//! runs, [`truth`] knows what really happens on every node, and whatever must never be is an end of it.
//! After the last fault there is quiet, and then everything must have come together: what hosts say is
//! what is.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall end")]

mod chance;
mod client;
mod faults;
mod inspector;
mod journal;
mod link;
mod schedule;
mod store;
pub mod truth;
mod world;

pub use schedule::{Outcome, Schedule, run};
