//! What the driver xe says of a GPU: `/sys/bus/pci/devices/ADDRESS/tileN/`.
//!
//! Kernel: `drivers/gpu/drm/xe/xe_tile_sysfs.c`, `xe_gt_idle.c`; since 6.8, readable by everyone. Each tile has
//! memory of its own (`physical_vram_size_bytes`), and engines (`gtN/`) that count how long they have
//! been idle (`gtidle/idle_residency_ms`).

use vfioctl_core::pci::PciAddress;

use crate::SysRoot;
use crate::function::DEVICES;
use crate::number::{list_numbered, read_number};

/// What xe says of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XeGpu {
    /// Its own memory, in bytes; absent where it has none.
    pub memory_bytes: Option<u64>,
    /// For how long each part of it has been idle since some moment, in milliseconds.
    pub idle_ms: Vec<u64>,
}

/// Reads what xe says of a GPU. Wakes it where it sleeps: see [`crate::read_is_asleep`].
pub fn read_xe(root: &SysRoot, address: PciAddress) -> XeGpu {
    let Some(device) = root.sys.sub(&format!("{DEVICES}/{address}")).ok().flatten() else {
        return XeGpu::default();
    };
    let mut gpu = XeGpu::default();
    let mut memory_bytes = 0_u64;
    for tile in list_numbered(&device, ".", "tile") {
        let memory: Option<u64> = read_number(&device, &format!("{tile}/physical_vram_size_bytes"));
        memory_bytes = memory_bytes.saturating_add(memory.unwrap_or_default());
        for gt in list_numbered(&device, &tile, "gt") {
            let path = format!("{tile}/{gt}/gtidle/idle_residency_ms");
            gpu.idle_ms.extend(read_number::<u64>(&device, &path));
        }
    }
    gpu.memory_bytes = Some(memory_bytes).filter(|bytes| *bytes > 0);
    gpu
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::devices;

    #[test]
    fn tiles_are_added_up_and_their_engines_counted() {
        let bytes = "12884901888";
        let (_folder, root) = devices(&[
            ("0000:03:00.0/tile0/physical_vram_size_bytes", bytes),
            ("0000:03:00.0/tile0/gt0/gtidle/idle_residency_ms", "100"),
            ("0000:03:00.0/tile0/gt1/gtidle/idle_residency_ms", "200"),
            ("0000:03:00.0/tile1/physical_vram_size_bytes", bytes),
            ("0000:03:00.0/tile1/gt2/gtidle/name", "gt2-rc"),
            ("0000:03:00.0/tiles/gt9/gtidle/idle_residency_ms", "1"),
            ("0000:05:00.0/tile0/physical_vram_size_bytes", "0"),
        ]);
        let expected = XeGpu {
            memory_bytes: Some(24 << 30),
            idle_ms: vec![100, 200],
        };
        let read = |address: &str| read_xe(&root, address.parse().unwrap());
        assert_eq!(read("0000:03:00.0"), expected);
        assert_eq!(read("0000:04:00.0"), XeGpu::default());
        assert_eq!(read("0000:05:00.0"), XeGpu::default());
    }
}
