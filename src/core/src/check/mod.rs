//! Checks: is this machine fit to give devices away?
//!
//! A check turns [`Facts`] into a [`Finding`]: what was found, whether it is good enough, and
//! what to do where it is not. It looks at nothing itself, so each is tested on a machine that
//! does not exist. One file a check; [`REGISTRY`] is the one list of them, and `docs/checks.md`
//! is [`document`] of it.

mod acs_override;
mod cpu;
mod distribution;
mod document;
mod drivers;
mod facts;
mod finding;
mod gpus;
mod groups;
mod helper;
mod host;
mod iommu;
mod iommufd;
mod iso_tool;
mod isolation;
mod kvm;
mod lockdown;
mod memory_lock;
mod ovmf;
mod program;
mod qemu;
mod qemu_img;
mod registry;
#[cfg(test)]
mod sample;
mod vfio;

pub use distribution::{Distribution, Family};
pub use document::document;
pub use facts::{Facts, HelperState, ProgramState, Programs};
pub use finding::{Finding, Row, State, Verdict, verdict};
pub use host::{
    CommandLine, CpuFacts, GpuDriver, Host, KvmNode, Lockdown, MemoryLock, ModuleState, Modules,
    VirtualisationFlag, platform,
};
pub use registry::{Check, REGISTRY, Run, rows};
