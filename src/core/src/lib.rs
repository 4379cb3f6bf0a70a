//! What a PCI machine is, and what may be done to it.
//!
//! This crate *decides*. It reads no file, asks no clock, starts no process; it turns values into
//! values, so every decision of vfioctl can be tested on a machine that does not exist.
//!
//! The path through it is always the same. `scan` looks at the kernel and fills a [`Snapshot`].
//! A function of [`plan`] turns the snapshot into a plan, a list of small
//! [`plan::Step`]s, or into a [`plan::Refusal`] that says what stands in the way. The helper
//! applies the steps. Where something cannot be seen, an [`Answer`] says so; it is never taken
//! for "no".
#![forbid(unsafe_code)]

pub mod acs;
mod answer;
pub mod check;
pub mod claim;
pub mod config;
pub mod dump;
pub mod iommu;
pub mod machine;
pub mod pci;
pub mod pin;
pub mod plan;
pub mod report;
mod snapshot;

pub use answer::Answer;
pub use snapshot::{HostUse, Problem, Snapshot};
