//! What the driver amdgpu says of a GPU: `/sys/bus/pci/devices/ADDRESS/{gpu_busy_percent,mem_info_vram_*,unique_id}`.
//!
//! Kernel: `Documentation/gpu/amdgpu/thermal.rst` and `driver-misc.rst`; since 4.19, 4.20 and 5.3, readable
//! by everyone. What a model does not have it answers with an error, or has no file for: absent here.

use vfioctl_core::pci::PciAddress;

use crate::SysRoot;
use crate::function::DEVICES;
use crate::number::read_number;

/// What amdgpu says of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AmdGpu {
    /// How busy it is, in percent.
    pub busy_percent: Option<u32>,
    /// Its memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Its memory in use, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// A number that no other GPU has; few models do.
    pub unique_id: Option<String>,
}

/// Reads what amdgpu says of a GPU. Wakes it where it sleeps (`pm_runtime_get_sync`): see
/// [`crate::read_is_asleep`].
pub fn read_amdgpu(root: &SysRoot, address: PciAddress) -> AmdGpu {
    let path = |name: &str| format!("{DEVICES}/{address}/{name}");
    let bytes = |name: &str| read_number(&root.sys, &path(name));
    let id = root.sys.read_attribute(&path("unique_id")).ok().flatten();
    AmdGpu {
        busy_percent: read_number(&root.sys, &path("gpu_busy_percent")),
        memory_bytes: bytes("mem_info_vram_total"),
        memory_used_bytes: bytes("mem_info_vram_used"),
        unique_id: id.filter(|id| id.bytes().any(|byte| byte != b'0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::devices;

    #[test]
    fn what_is_there_is_told_and_the_rest_is_absent() {
        let (_folder, root) = devices(&[
            ("0000:03:00.0/gpu_busy_percent", "7"),
            ("0000:03:00.0/mem_info_vram_total", "17163091968"),
            ("0000:03:00.0/mem_info_vram_used", ""),
            ("0000:03:00.0/unique_id", "0000000000000000"),
        ]);
        let expected = AmdGpu {
            busy_percent: Some(7),
            memory_bytes: Some(17_163_091_968),
            memory_used_bytes: None,
            unique_id: None,
        };
        let read = |address: &str| read_amdgpu(&root, address.parse().unwrap());
        assert_eq!(read("0000:03:00.0"), expected);
        assert_eq!(read("0000:04:00.0"), AmdGpu::default());
    }
}
