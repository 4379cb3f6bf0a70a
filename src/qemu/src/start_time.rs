//! Start time: how long QEMU may take until it answers, and how much memory it may pin for it.
//!
//! With a VFIO device, QEMU maps all guest memory for DMA before its monitor answers; the kernel
//! zeroes and pins every page in that call (`drivers/vfio/vfio_iommu_type1.c`,
//! `vfio_pin_map_dma()`). A fixed timeout therefore kills healthy machines.

use std::time::Duration;

use vfioctl_core::machine::MachineSpec;

use crate::arguments::Accel;

/// Until an idle host has started a QEMU that pins nothing: seconds on slow disks, with room for a
/// host that is busy.
const BASE_MS: u64 = 30_000;

/// Pinning one GiB. Reports have 2.2 to 3.5 s (Proxmox, commit 95f1de68: 60 GiB in 135 s, 96 GiB
/// in more than 290 s).
const PIN_MS_PER_GIB: u64 = 3_500;

/// Room above the slow end of most reports: the slowest one has 24 GiB in more than 210 s, 8.8 s
/// for each GiB (kata-containers issue 13084), and fragmented memory is slower than fresh.
const PIN_FACTOR: u64 = 3;

/// Opening a device: waking it from D3 and resetting it, with the whole minute that the kernel
/// waits for one that comes back slowly (`PCIE_RESET_READY_POLL_MS`, `drivers/pci/pci.c`).
const DEVICE_MS: u64 = 60_000;

/// Without KVM the host is often a virtual machine itself, in which all of this is slower.
const TCG_FACTOR: u64 = 2;

/// What QEMU maps for DMA beside the guest's memory: ROMs and video memory of emulated devices.
/// BARs of passed devices are not charged by VFIO's own IOMMU code.
const BESIDE_MEMORY_MIB: u64 = 1024;

/// What the kernel allows to any process since 5.16 (`MLOCK_LIMIT`, `include/uapi/linux/resource.h`).
const KERNEL_DEFAULT_MIB: u64 = 8;

/// How long QEMU may take from its start until its monitor answers.
///
/// ```
/// use std::time::Duration;
/// use vfioctl_qemu::{Accel, start_timeout};
/// assert_eq!(start_timeout(64 * 1024, 0, Accel::Kvm), Duration::from_secs(30));
/// // 30 s, 60 s for the device, and 10.5 s for each of 64 GiB.
/// assert_eq!(start_timeout(64 * 1024, 1, Accel::Kvm), Duration::from_secs(762));
/// ```
pub fn start_timeout(memory_mib: u64, devices: usize, accel: Accel) -> Duration {
    let pinning = match devices {
        0 => 0,
        // Rounded up: a part of a GiB is given the time of a whole one.
        _ => memory_mib
            .div_ceil(1024)
            .saturating_mul(PIN_MS_PER_GIB * PIN_FACTOR),
    };
    let opening = u64::try_from(devices)
        .unwrap_or(u64::MAX)
        .saturating_mul(DEVICE_MS);
    let factor = match accel {
        Accel::Kvm => 1,
        Accel::Tcg => TCG_FACTOR,
    };
    let sum = BASE_MS.saturating_add(pinning).saturating_add(opening);
    Duration::from_millis(sum.saturating_mul(factor))
}

/// How much memory the machine's QEMU may lock (`RLIMIT_MEMLOCK`), in bytes.
///
/// All devices share one container and machines have no virtual IOMMU, so guest memory is charged
/// once, whatever the number of devices. A machine without devices pins nothing and gets the
/// kernel's default.
pub fn locked_memory_limit(spec: &MachineSpec) -> u64 {
    let mib = if spec.devices.is_empty() {
        KERNEL_DEFAULT_MIB
    } else {
        spec.memory_mib.saturating_add(BESIDE_MEMORY_MIB)
    };
    mib.saturating_mul(1024 * 1024)
}

#[cfg(test)]
mod tests {
    use vfioctl_core::machine::{Boot, FilePath, Network};

    use super::*;

    #[test]
    fn every_reported_start_is_within_the_bound() {
        // GiB and seconds: Proxmox's two, and the slowest of Kata Containers.
        for (gib, seconds) in [(60, 135), (96, 290), (24, 210)] {
            let bound = start_timeout(gib * 1024, 1, Accel::Kvm);
            assert!(
                bound >= Duration::from_secs(seconds + seconds / 4),
                "{gib} GiB: {bound:?}"
            );
        }
    }

    #[test]
    fn a_part_of_a_gib_counts_as_one() {
        assert_eq!(
            start_timeout(1, 1, Accel::Kvm),
            start_timeout(1024, 1, Accel::Kvm)
        );
    }

    #[test]
    fn the_greatest_numbers_do_not_overflow() {
        let longest = start_timeout(u64::MAX, usize::MAX, Accel::Tcg);
        assert_eq!(longest, Duration::from_millis(u64::MAX));
    }

    #[test]
    fn memory_is_charged_once_and_only_with_devices() {
        let mut spec = MachineSpec {
            name: "m".parse().unwrap(),
            memory_mib: 16 * 1024,
            cores: 1,
            boot: Boot::Kernel {
                image: FilePath::new("/k").unwrap(),
                initrd: None,
                append: String::new(),
            },
            disks: Vec::new(),
            devices: Vec::new(),
            network: Network::None,
        };
        assert_eq!(locked_memory_limit(&spec), 8 << 20);
        spec.devices = vec![
            "0000:01:00.0".parse().unwrap(),
            "0000:02:00.0".parse().unwrap(),
        ];
        assert_eq!(locked_memory_limit(&spec), 17 << 30);
    }
}
