//! How long a GPU of the driver i915 has been idle:
//! `/sys/bus/pci/devices/ADDRESS/drm/cardN/gt/gtM/rc6_residency_ms`.
//!
//! Kernel: `drivers/gpu/drm/i915/gt/intel_gt_sysfs_pm.c`, since 5.18; before that, and still beside it,
//! `drm/cardN/power/rc6_residency_ms`. Readable by everyone. RC6 is the state in which an engine is
//! switched off between two pieces of work.

use vfioctl_core::pci::PciAddress;

use crate::SysRoot;
use crate::drm::read_drm_names;
use crate::function::DEVICES;
use crate::number::{list_numbered, read_number};

/// Reads for how long each part of a GPU has been idle since some moment, in milliseconds. Wakes it
/// where it sleeps (`intel_runtime_pm_get`): see [`crate::read_is_asleep`].
pub fn read_i915_idle(root: &SysRoot, address: PciAddress) -> Vec<u64> {
    let drm = read_drm_names(root, address).unwrap_or_default();
    let dir = drm.cards.first().and_then(|card| {
        let path = format!("{DEVICES}/{address}/drm/{card}");
        root.sys.sub(&path).ok().flatten()
    });
    let Some(dir) = dir else {
        return Vec::new();
    };
    let parts = list_numbered(&dir, "gt", "gt").into_iter();
    let idle: Vec<u64> = parts
        .filter_map(|gt| read_number(&dir, &format!("gt/{gt}/rc6_residency_ms")))
        .collect();
    if idle.is_empty() {
        // KERNEL(5.18): one counter for the whole GPU.
        return read_number(&dir, "power/rc6_residency_ms")
            .into_iter()
            .collect();
    }
    idle
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::devices;

    #[test]
    fn parts_are_preferred_to_the_whole() {
        let (_folder, root) = devices(&[
            ("0000:00:02.0/drm/card1/gt/gt0/rc6_residency_ms", "10"),
            ("0000:00:02.0/drm/card1/gt/gt1/rc6_residency_ms", "20"),
            ("0000:00:02.0/drm/card1/power/rc6_residency_ms", "10"),
            ("0000:03:00.0/drm/card0/power/rc6_residency_ms", "30"),
        ]);
        let read = |address: &str| read_i915_idle(&root, address.parse().unwrap());
        assert_eq!(read("0000:00:02.0"), [10, 20]);
        assert_eq!(read("0000:03:00.0"), [30]);
        assert_eq!(read("0000:04:00.0"), []);
    }
}
