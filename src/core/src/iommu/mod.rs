//! IOMMU groups: which functions share one and why, what would change it, and whether a group can
//! be given away.

mod dma_alias;
mod explanation;
mod index;
mod partition;
mod prediction;
#[cfg(test)]
mod rule_tests;
#[cfg(test)]
pub(crate) mod sample;
mod separation;
mod simulation;
mod topology;
mod viability;

pub use explanation::{Blocker, Decision, Explanation, Remedy};
pub use index::GroupIndex;
pub use partition::Partition;
pub use prediction::{Prediction, predict, predict_groups};
pub use separation::{Audit, Difference, DifferenceKind, Hop, OpenSwitch, Separation, Verdict};
pub use simulation::{ALGORITHM, Simulation};
pub use topology::Topology;
pub use viability::{Spoiler, Viability, viability};
#[cfg(test)]
mod separation_tests;
#[cfg(test)]
mod tests;
