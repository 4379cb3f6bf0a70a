//! The MMIO window: how much address space OVMF keeps for the BARs of a guest's devices.
//!
//! OVMF's window above 4 GiB has 32 GiB, unless `opt/ovmf/X-PciMmio64Mb` says otherwise
//! (`OvmfPkg/Library/PlatformInitLib/MemDetect.c`): a card of 24 GB with a resizable BAR asks for 32
//! GiB and a bit more, and a data centre's for 128 GiB. What does not fit is left without an address,
//! and the guest's driver says that BAR 0 is "0M @ 0x0". SeaBIOS sizes its window by itself.

use vfioctl_core::machine::{Boot, MachineSpec};

use crate::placement::PassedDevice;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What OVMF keeps without being asked (`PcdPciMmio64Size`).
const DEFAULT: u64 = 32 * GIB;

/// The most that OVMF takes; a greater number it ignores.
const MOST: u64 = 16 << 40;

/// Room for what else has BARs up there: emulated devices, a few KiB each. OVMF rounds to whole GiB.
const OTHERS: u64 = GIB;

/// Bridges give out addresses in steps of 1 MiB (PCI-to-PCI Bridge 1.2, section 3.2.5.8).
const BRIDGE_STEP: u64 = MIB;

/// Bits of the physical addresses that QEMU gives a guest unless told otherwise.
const DEFAULT_ADDRESS_BITS: u32 = 40;

/// A window that is greater than OVMF's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MmioWindow {
    bytes: u64,
}

impl MmioWindow {
    /// The window that a machine needs; `None` where OVMF's own is enough, or no OVMF is.
    pub(crate) fn of(spec: &MachineSpec, devices: &[PassedDevice]) -> Option<Self> {
        if !matches!(spec.boot, Boot::Uefi { .. }) {
            return None;
        }
        let needed = place(devices).saturating_add(OTHERS);
        let bytes = needed.checked_next_power_of_two().unwrap_or(MOST).min(MOST);
        (needed > DEFAULT).then_some(Self { bytes })
    }

    /// The value of `-fw_cfg`.
    pub(crate) fn to_fw_cfg(self) -> String {
        let mib = self.bytes / MIB;
        format!("name=opt/ovmf/X-PciMmio64Mb,string={mib}")
    }

    /// Whether the end of the window is beyond what 40 bits can address. OVMF puts it above the
    /// memory, at a multiple of its size.
    pub(crate) fn needs_wide_addresses(self, memory_mib: u64) -> bool {
        // What does not fit below the devices' hole at the end of the first 4 GiB goes above it.
        let end_of_memory = memory_mib.saturating_mul(MIB).saturating_add(4 * GIB);
        let start = end_of_memory
            .div_ceil(self.bytes)
            .saturating_mul(self.bytes);
        start.saturating_add(self.bytes) > 1 << DEFAULT_ADDRESS_BITS
    }
}

/// How far the BARs reach when they are laid out as OVMF does it
/// (`MdeModulePkg/Bus/Pci/PciBusDxe/PciResourceSupport.c`): each device behind a bridge of its own,
/// every BAR at a multiple of its size, what is aligned most first.
fn place(devices: &[PassedDevice]) -> u64 {
    let mut bridges: Vec<(u64, u64)> = devices
        .iter()
        .map(|device| {
            let sizes = device.windows_bytes.iter();
            let sum = sizes
                .clone()
                .fold(0, |sum: u64, size| sum.saturating_add(*size));
            let size = sum.div_ceil(BRIDGE_STEP).saturating_mul(BRIDGE_STEP);
            let alignment = sizes.max().copied().unwrap_or_default().max(BRIDGE_STEP);
            (alignment, size)
        })
        .collect();
    bridges.sort_by(|one, other| other.cmp(one));
    bridges.iter().fold(0, |end: u64, (alignment, size)| {
        let start = end.div_ceil(*alignment).saturating_mul(*alignment);
        start.saturating_add(*size)
    })
}

#[cfg(test)]
mod tests {
    use vfioctl_core::machine::{FilePath, Network};

    use super::*;

    fn spec(boot: Boot) -> MachineSpec {
        MachineSpec {
            name: "m".parse().unwrap(),
            memory_mib: 64 * 1024,
            cores: 1,
            boot,
            disks: Vec::new(),
            devices: Vec::new(),
            network: Network::None,
        }
    }

    fn uefi() -> MachineSpec {
        let code = FilePath::new("/code.fd").unwrap();
        spec(Boot::Uefi {
            code,
            variables: None,
        })
    }

    fn cards(count: usize, windows: &[u64]) -> Vec<PassedDevice> {
        let card = PassedDevice {
            functions: Vec::new(),
            windows_bytes: windows.to_vec(),
        };
        vec![card; count]
    }

    fn gib(devices: &[PassedDevice]) -> Option<u64> {
        MmioWindow::of(&uefi(), devices).map(|window| window.bytes / GIB)
    }

    /// 24 GB of memory: BAR 1 has 256 MiB, or with a resizable BAR all of it, rounded up; BAR 3 has
    /// 32 MiB.
    const CONSUMER: [u64; 2] = [256 * MIB, 32 * MIB];
    const CONSUMER_RESIZED: [u64; 2] = [32 * GIB, 32 * MIB];
    /// H100 with 80 GB.
    const DATA_CENTRE: [u64; 3] = [16 * MIB, 128 * GIB, 32 * MIB];

    #[test]
    fn small_bars_need_nothing() {
        assert_eq!(gib(&[]), None);
        assert_eq!(gib(&cards(1, &CONSUMER)), None);
        assert_eq!(gib(&cards(16, &CONSUMER)), None);
        // An AMD card with 16 GB, resized: BAR 0 and the doorbells.
        assert_eq!(gib(&cards(1, &[16 * GIB, 2 * MIB])), None);
    }

    #[test]
    fn a_large_bar_gets_the_next_power_of_two() {
        assert_eq!(gib(&cards(1, &CONSUMER_RESIZED)), Some(64));
        assert_eq!(gib(&cards(1, &DATA_CENTRE)), Some(256));
        // With nothing beside it, and no room for anything.
        assert_eq!(gib(&cards(1, &[32 * GIB])), Some(64));
        assert_eq!(gib(&cards(1, &[16 * GIB, 8 * GIB, 4 * GIB])), None);
    }

    #[test]
    fn every_card_starts_at_a_multiple_of_its_largest_bar() {
        // 32 GiB + 32 MiB each: the second one at 64, the third at 128.
        assert_eq!(gib(&cards(2, &CONSUMER_RESIZED)), Some(128));
        assert_eq!(gib(&cards(3, &CONSUMER_RESIZED)), Some(256));
        assert_eq!(gib(&cards(8, &DATA_CENTRE)), Some(2048));
        // The small ones come last and fill what is left.
        let mixed = [cards(8, &CONSUMER), cards(1, &CONSUMER_RESIZED)].concat();
        assert_eq!(gib(&mixed), Some(64));
    }

    #[test]
    fn only_ovmf_is_told() {
        let devices = cards(1, &DATA_CENTRE);
        assert_eq!(MmioWindow::of(&spec(Boot::Bios), &devices), None);
        let window = MmioWindow::of(&uefi(), &devices).unwrap();
        assert_eq!(
            window.to_fw_cfg(),
            "name=opt/ovmf/X-PciMmio64Mb,string=262144"
        );
    }

    #[test]
    fn a_window_beyond_40_bits_needs_the_hosts_own() {
        let wide =
            |bytes, memory_gib: u64| MmioWindow { bytes }.needs_wide_addresses(memory_gib * 1024);
        assert!(!wide(64 * GIB, 16));
        assert!(!wide(256 * GIB, 256));
        assert!(!wide(512 * GIB, 500));
        assert!(wide(512 * GIB, 510));
        assert!(wide(2048 * GIB, 16));
        assert!(wide(64 * GIB, 1000));
    }

    #[test]
    fn the_greatest_numbers_do_not_overflow() {
        assert_eq!(gib(&cards(3, &[u64::MAX, u64::MAX])), Some(16 * 1024));
        assert_eq!(gib(&cards(3, &[0])), None);
        let window = MmioWindow { bytes: MOST };
        assert!(window.needs_wide_addresses(u64::MAX));
    }
}
