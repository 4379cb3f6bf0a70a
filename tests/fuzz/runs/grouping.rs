//! Any machine, with bridges in rings and functions below themselves, booted and then changed in
//! any order: groups are partitions, hold what is there, and nothing that was removed.

use std::collections::BTreeSet;

use vfioctl_core::acs::{Acs, AcsOverride, AcsParameters, Platform};
use vfioctl_core::config::{HeaderType, PcieType};
use vfioctl_core::iommu::{Separation, Simulation, Topology, predict, predict_groups};
use vfioctl_core::pci::{ClassCode, GroupId, Identity, PciAddress, PciFunction, SriovRole};
use vfioctl_core::{Answer, Snapshot};

const MAX_FUNCTIONS: usize = 48;
const MAX_CHANGES: usize = 64;
/// Devices that the kernel treats apart, and some that it does not.
const IDENTITIES: [(u16, u16); 16] = [
    (0x1234, 0x1111),
    (0x10de, 0x2204),
    // Intel VMD, twice.
    (0x8086, 0x201d),
    (0x8086, 0x9a0b),
    // Send under other numbers.
    (0x1180, 0xe832),
    (0x1b4b, 0x9230),
    (0x8086, 0x2260),
    (0x8086, 0x2954),
    (0x10b5, 0x87b0),
    // No number of theirs is ever seen above.
    (0x14e4, 0x9000),
    // Have opinions of their own on ACS.
    (0x8086, 0xa340),
    (0x8086, 0x9d10),
    (0x1002, 0x4385),
    (0x1022, 0x780f),
    (0x8086, 0x10c9),
    (0xffff, 0xffff),
];
const CLASSES: [u32; 4] = [0x03_0000, 0x06_0400, 0x08_0600, 0x06_0100];
const OVERRIDES: [&str; 4] = ["", "downstream", "multifunction", "id:1234:1111,downstream"];
const PARAMETERS: [&str; 4] = [
    "",
    "disable_acs_redir=pci:0:0",
    "config_acs=xx0x1x1@0000:00:01.0/00.0;1111111@pci:1234:1111",
    "config_acs=0@pci:8086:0",
];
const RELEASES: [&str; 2] = ["6.1.0", "6.12.0"];

pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let platform = read_platform(&mut bytes);
    let snapshot = read_machine(&mut bytes);
    let topology = Topology::of(&snapshot);
    assert_eq!(topology.len(), snapshot.functions.len());
    let covered = covered(&snapshot);

    // Of a boot every covered function has exactly one group.
    let groups = predict_groups(&topology, &platform);
    assert_eq!(members(&groups), covered);
    let prediction = predict(&topology, &platform);
    assert_eq!(prediction.groups, groups);
    assert!(prediction.uncertain.is_subset(&covered));
    let at_boot = topology.at_boot(&platform.acs_parameters);
    assert_eq!(members(&predict_groups(&at_boot, &platform)), covered);
    look(&snapshot, &platform);

    change(&mut bytes, &snapshot, &topology, &platform, &covered);
}

fn look(snapshot: &Snapshot, platform: &Platform) {
    let now = Separation::of(snapshot, platform);
    for separation in [&now, &now.at_boot()] {
        separation.differences();
        separation.open_switches();
        for address in snapshot.functions.keys() {
            separation.audit(*address);
            separation.reduced_partners(*address);
        }
    }
}

/// Does what an administrator and the kernel could do, in any order.
fn change(
    bytes: &mut Bytes<'_>,
    snapshot: &Snapshot,
    topology: &Topology,
    platform: &Platform,
    covered: &BTreeSet<PciAddress>,
) {
    let addresses: Vec<PciAddress> = snapshot.functions.keys().copied().collect();
    let stays_findable: Vec<PciAddress> = covered
        .iter()
        .copied()
        .filter(|address| is_found_by_a_scan(snapshot, *address))
        .collect();
    let mut machine = Simulation::of_kernel(topology, platform);
    for _ in 0..MAX_CHANGES {
        let Some(kind) = bytes.next() else { break };
        let Some(at) = bytes.pick(&addresses) else {
            break;
        };
        let before = machine.groups();
        match kind % 6 {
            0 => {
                machine.remove(at);
                assert!(
                    !members(&machine.groups()).contains(&at),
                    "{at} was removed"
                );
            }
            1 => {
                let control = bytes.word();
                machine.set_acs(at, control);
                assert_eq!(machine.groups(), before, "registers alone change no group");
                assert!(machine.acs(at).is_none_or(|acs| acs.control() == control));
            }
            2 => machine.rescan(Some(at)),
            3 => {
                machine.rescan(None);
                let found = members(&machine.groups());
                assert!(
                    members(&before).is_subset(&found),
                    "a rescan takes nothing away"
                );
            }
            4 => machine.set_virtual_functions(at, usize::from(bytes.next().unwrap_or(0))),
            _ => {
                for address in &addresses {
                    machine.remove(*address);
                }
                assert_eq!(machine.groups(), Vec::<Vec<PciAddress>>::new());
                machine.rescan(None);
                let found = members(&machine.groups());
                let is_missing = |address: &&PciAddress| !found.contains(address);
                assert_eq!(
                    stays_findable.iter().find(is_missing),
                    None,
                    "not found again"
                );
            }
        }
        assert!(members(&machine.groups()).is_subset(covered));
    }
}

/// Whether neither the function nor a bridge above it is a virtual function: these come by their
/// driver alone.
fn is_found_by_a_scan(snapshot: &Snapshot, address: PciAddress) -> bool {
    let mut at = Some(address);
    for _ in 0..=snapshot.functions.len() {
        let Some(function) = at.and_then(|at| snapshot.function(at)) else {
            return true;
        };
        if matches!(function.sriov, SriovRole::Virtual { .. }) {
            return false;
        }
        at = function.upstream;
    }
    true
}

/// The functions that an IOMMU covers: those with a group where there are any, and otherwise all
/// but an IOMMU itself.
fn covered(snapshot: &Snapshot) -> BTreeSet<PciAddress> {
    let functions = || snapshot.functions.values();
    let has_groups = functions().any(|function| function.iommu_group.is_some());
    functions()
        .filter(|function| match has_groups {
            true => function.iommu_group.is_some(),
            false => (function.class.base(), function.class.subclass()) != (0x08, 0x06),
        })
        .map(|function| function.address)
        .collect()
}

/// All members, once it is sure that no group is empty and none shares one with another.
fn members(groups: &[Vec<PciAddress>]) -> BTreeSet<PciAddress> {
    let mut all = BTreeSet::new();
    for group in groups {
        assert!(!group.is_empty());
        for address in group {
            assert!(all.insert(*address), "{address} is in two groups");
        }
    }
    all
}

fn read_platform(bytes: &mut Bytes<'_>) -> Platform {
    let flags = bytes.next().unwrap_or(0);
    let asserted = bytes.pick(&OVERRIDES).unwrap_or_default();
    let parameters = bytes.pick(&PARAMETERS).unwrap_or_default();
    let release = bytes.pick(&RELEASES).unwrap_or_default();
    Platform {
        has_ivrs: flags & 1 != 0,
        has_pch_workaround: flags & 2 != 0,
        acs_override: AcsOverride::parse(asserted),
        acs_parameters: AcsParameters::parse([parameters], release),
    }
}

fn read_machine(bytes: &mut Bytes<'_>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let count = usize::from(bytes.next().unwrap_or(0)) % (MAX_FUNCTIONS + 1);
    let mut addresses = Vec::new();
    for _ in 0..count {
        let Some(address) = read_address(bytes) else {
            break;
        };
        addresses.push(address);
    }
    let has_groups = bytes.next().unwrap_or(0).is_multiple_of(2);
    for address in &addresses {
        let function = read_function(bytes, *address, &addresses, has_groups);
        snapshot.functions.insert(*address, function);
    }
    snapshot
}

/// Few domains, buses and slots, so that functions meet.
fn read_address(bytes: &mut Bytes<'_>) -> Option<PciAddress> {
    let (place, number) = (bytes.next()?, bytes.next()?);
    let domain = match place >> 4 {
        0..=11 => 0,
        12 | 13 => 1,
        14 => 0x1_0000,
        _ => 0x1_0001,
    };
    let device = [0, 1, 0x10, 0x11, 0x12, 0x1c, 0x1e, 0x1f];
    let device = device.get(usize::from(number >> 3) % device.len())?;
    PciAddress::new(domain, place & 7, *device, number & 7).ok()
}

fn read_function(
    bytes: &mut Bytes<'_>,
    address: PciAddress,
    addresses: &[PciAddress],
    has_groups: bool,
) -> PciFunction {
    let (vendor, device) = bytes.pick(&IDENTITIES).unwrap_or_default();
    let flags = bytes.next().unwrap_or(0);
    let kind = bytes.next().unwrap_or(0);
    let has_acs = bytes.next().unwrap_or(0);
    let group = bytes.next().unwrap_or(0);
    PciFunction {
        address,
        identity: Identity {
            vendor,
            device,
            subsystem_vendor: 0,
            subsystem_device: 0,
        },
        class: bytes
            .pick(&CLASSES)
            .and_then(ClassCode::new)
            .unwrap_or_default(),
        revision: 0,
        // Also itself, one below it, and one that is not there.
        upstream: match flags & 3 {
            0 => None,
            1 => PciAddress::new(7, 7, 7, 7).ok(),
            _ => bytes.pick(addresses),
        },
        header_type: match (flags >> 2) & 3 {
            0 => Answer::CannotSee,
            1 => Answer::Known(HeaderType::Normal),
            _ => Answer::Known(HeaderType::Bridge),
        },
        multifunction_bit: match (flags >> 4) & 3 {
            0 => Answer::CannotSee,
            bits => Answer::Known(bits != 1),
        },
        config_bytes_seen: 4096,
        pcie_type: match kind {
            0..=15 => Answer::CannotSee,
            16..=47 => Answer::Known(None),
            _ => Answer::Known(Some(PcieType::from_bits(kind & 0xf))),
        },
        acs: match has_acs % 4 {
            0 => Answer::CannotSee,
            1 => Answer::Known(None),
            _ => Answer::Known(Some(Acs::new(bytes.word(), bytes.word()))),
        },
        driver: None,
        driver_override: Answer::CannotSee,
        iommu_group: (has_groups && group < 224).then(|| GroupId(u32::from(group))),
        numa_node: None,
        bars: Vec::new(),
        reset_methods: Vec::new(),
        power_state: None,
        boot_vga: None,
        sriov: match flags >> 6 {
            3 => match bytes.pick(addresses) {
                Some(physical) => SriovRole::Virtual { physical },
                None => SriovRole::None,
            },
            _ => SriovRole::None,
        },
        problems: Vec::new(),
    }
}

/// What is left of the input.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.next().unwrap_or(0), self.next().unwrap_or(0)])
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let number = usize::from(self.next()?);
        from.get(number.checked_rem(from.len())?).copied()
    }
}
