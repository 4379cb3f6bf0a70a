//! Any text as a dump: read, predicted, and grouped as it is and as after a boot.

use std::collections::BTreeSet;

use vfioctl_core::Snapshot;
use vfioctl_core::dump::parse_dump;
use vfioctl_core::iommu::{Separation, Topology, predict};
use vfioctl_core::pci::{PciAddress, tree_lines};

/// More functions than this holds take long without being another case.
const MAX_BYTES: usize = 8192;

pub(crate) fn run(bytes: &[u8]) {
    let Some(bytes) = bytes.get(..bytes.len().min(MAX_BYTES)) else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let dump = match parse_dump(&text) {
        Ok(dump) => dump,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.hint().is_empty());
            return;
        }
    };
    assert!(!dump.snapshot.functions.is_empty());
    let platform = dump.platform();
    let topology = Topology::of(&dump.snapshot);
    assert_eq!(topology.len(), dump.snapshot.functions.len());
    let prediction = predict(&topology, &platform);
    assert_partition(&dump.snapshot, &prediction.groups);
    assert_eq!(tree_lines(&dump.snapshot.functions).len(), topology.len());

    let now = Separation::of(&dump.snapshot, &platform);
    assert_eq!(now.registers().groups(), prediction.groups);
    for separation in [&now, &now.at_boot()] {
        assert_partition(&dump.snapshot, separation.registers().groups());
        separation.differences();
        separation.open_switches();
        for address in dump.snapshot.functions.keys().take(16) {
            separation.audit(*address);
            separation.isolation(*address);
            separation.reduced_partners(*address);
        }
    }
}

/// No group is empty, and each function is in one group at most.
fn assert_partition(snapshot: &Snapshot, groups: &[Vec<PciAddress>]) {
    let mut seen: BTreeSet<PciAddress> = BTreeSet::new();
    for group in groups {
        assert!(!group.is_empty());
        for address in group {
            assert!(
                snapshot.function(*address).is_some(),
                "{address} is not in the dump"
            );
            assert!(seen.insert(*address), "{address} is in two groups");
        }
    }
}
