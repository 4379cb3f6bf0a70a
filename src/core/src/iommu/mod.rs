//! IOMMU groups: which functions share one, and whether a group can be given away.

mod viability;

pub use viability::{Spoiler, Viability, viability};
