//! The machine beside its PCI functions: what `vfioctl check` is decided by.
//!
//! One file a subject. Nothing here fails: what this user cannot see is [`Answer::CannotSee`],
//! and the check says so.

mod acpi;
mod command_line;
mod cpuinfo;
mod gpu_drivers;
mod guest_firmware;
mod iommu_class;
mod iso_tools;
mod kallsyms;
mod kvm;
mod limits;
mod lockdown;
mod modules;
mod nodes;
mod os_release;
mod reserved_regions;
mod secure_boot;

pub(crate) use acpi::read_iommu_tables;
pub(crate) use command_line::read_command_line;
pub use guest_firmware::read_guest_firmware;
pub(crate) use kallsyms::read_acs_override;
pub use kvm::read_kvm_node;
pub use lockdown::read_lockdown;

use vfioctl_core::Answer;
use vfioctl_core::check::Host;

use crate::{ReadError, SysRoot};

/// Reads the machine beside its PCI functions.
pub fn read_host(root: &SysRoot) -> Host {
    let kernel_release = seen(root.proc.read_text("sys/kernel/osrelease"));
    let command_line = command_line::read_command_line(root);
    Host {
        distribution: os_release::read_distribution(root),
        modules: modules::read_modules(root, kernel_release.as_ref().known().map(String::as_str)),
        kernel_release,
        cpu: cpuinfo::read_cpu(root),
        kvm_node: read_kvm_node(root),
        iommufd_node: nodes::read_node(root, "iommu"),
        iommus: iommu_class::read_iommus(root),
        iommu_tables: acpi::read_iommu_tables(root),
        reserved_groups: reserved_regions::read_reserved_groups(root),
        has_acs_override: kallsyms::read_acs_override(root, &command_line),
        command_line,
        memory_lock: limits::read_memory_lock(root),
        lockdown: lockdown::read_lockdown(root),
        secure_boot: secure_boot::read_secure_boot(root),
        drivers: gpu_drivers::read_gpu_drivers(root),
        guest_firmware: read_guest_firmware(root),
        iso_tools: iso_tools::read_iso_tools(root),
    }
}

/// A file or folder that every such machine has: its absence is a thing that cannot be seen.
fn seen<T>(read: Result<Option<T>, ReadError>) -> Answer<T> {
    match read {
        Ok(Some(fact)) => Answer::Known(fact),
        Ok(None) | Err(_) => Answer::CannotSee,
    }
}

#[cfg(test)]
mod tests;
