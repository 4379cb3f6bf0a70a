//! Configuration space: what was read of it, and how to find things in it.

mod capability;
pub mod regs;
mod space;

pub use capability::{ExtendedCapabilityId, StandardCapabilityId};
pub use space::{AcsRegisters, ConfigFacts, ConfigSpace, HeaderType, PcieType, ReadConfig};
