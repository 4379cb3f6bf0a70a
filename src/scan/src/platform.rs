//! What the kernel knows beside PCI functions, when it groups them.

use std::collections::BTreeMap;

use vfioctl_core::acs::Platform;
use vfioctl_core::check::platform;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::PowerControl;

use crate::function::DEVICES;
use crate::host::{read_acs_override, read_command_line, read_iommu_tables};
use crate::{ReadError, SysRoot};

/// Looks for what decides on groups and is not in config space. What cannot be seen is taken to
/// be as on most machines: no assertion, no AMD IOMMU.
pub fn read_platform(root: &SysRoot) -> Platform {
    let command_line = read_command_line(root);
    let release = root.proc.read_text("sys/kernel/osrelease").ok().flatten();
    let tables = read_iommu_tables(root);
    let has_override = read_acs_override(root, &command_line);
    platform(&command_line, release.as_deref(), &tables, has_override)
}

/// Whether functions may sleep when nothing uses them (`power/control`); those without such a file
/// are left out.
///
/// # Errors
/// Where a file is there and cannot be read.
pub fn read_power_controls(
    root: &SysRoot,
    addresses: impl IntoIterator<Item = PciAddress>,
) -> Result<BTreeMap<PciAddress, PowerControl>, ReadError> {
    let mut controls = BTreeMap::new();
    for address in addresses {
        let path = format!("{DEVICES}/{address}/power/control");
        let control = match root.sys.read_attribute(&path)?.as_deref() {
            Some("auto") => PowerControl::Auto,
            Some("on") => PowerControl::On,
            _ => continue,
        };
        controls.insert(address, control);
    }
    Ok(controls)
}
