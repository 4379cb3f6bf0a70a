//! Looks at the machine through sysfs and procfs; changes nothing, runs nothing.
//!
//! [`SysRoot`] holds the places that are looked at. [`read_snapshot`] reads every PCI function
//! and what the machine needs it for. One unreadable file never hides the rest: what could not be
//! read is named in the snapshot.
#![forbid(unsafe_code)]

mod accounts;
mod amdgpu;
mod config;
mod drm;
mod error;
mod function;
mod holders;
pub mod host;
mod host_input;
mod host_use;
mod hwmon;
mod i915;
mod node;
mod number;
mod nvidia;
mod overrides;
mod platform;
mod process;
mod resource;
mod root;
mod runtime_status;
#[cfg(test)]
mod sample;
mod snapshot;
mod xe;

pub use accounts::{read_group_number, read_user_name};
pub use amdgpu::{AmdGpu, read_amdgpu};
pub use config::read_config;
pub use drm::{DrmNames, read_drm_names};
pub use error::ReadError;
pub use function::{
    is_present, read_acs, read_bus_below, read_driver, read_driver_override, read_function,
};
pub use holders::{Holder, read_device_nodes, read_holders};
pub use host_use::HostView;
pub use hwmon::{Sensors, read_sensors};
pub use i915::read_i915_idle;
pub use node::{
    Memory, NumaMemory, ProcessorTimes, SystemNames, count_list, read_memory, read_numa,
    read_processor_count, read_processor_times, read_system_names,
};
pub use nvidia::{NvidiaInformation, read_nvidia_information};
pub use platform::{read_platform, read_power_controls};
pub use process::{ProcessStat, read_boot_id, read_locked_memory_kib, read_process_stat};
pub use root::{Root, SysRoot};
pub use runtime_status::read_is_asleep;
pub use snapshot::{read_slot, read_snapshot};
pub use xe::{XeGpu, read_xe};
