//! IOMMU groups: which functions share one, and whether a group can be given away.

mod index;
mod viability;

pub use index::GroupIndex;
pub use viability::{Spoiler, Viability, viability};
