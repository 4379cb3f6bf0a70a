//! Places: where the GPUs of a machine sit.

use std::collections::BTreeMap;

use vfioctl_core::Snapshot;
use vfioctl_core::pci::{Identity, PciAddress, PciFunction, PciPath, SriovRole};

/// Where a GPU sits, and what sits there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The place, which stays.
    pub(super) path: PciPath,
    /// Its address, which can move.
    pub(super) address: PciAddress,
    /// What sits there now.
    pub(super) identity: Identity,
}

/// Finds the places of all GPUs, in the order of addresses, and the addresses of those whose place
/// could not be seen.
///
/// Of a card with several GPU functions in one slot the first one counts: a second one is another
/// connector, and all go together in any case. Virtual functions are no GPUs of their own here: they come
/// and go with a setting of their card.
pub(super) fn find_places(snapshot: &Snapshot) -> (Vec<Place>, Vec<PciAddress>) {
    let mut slots: BTreeMap<PciAddress, &PciFunction> = BTreeMap::new();
    let is_physical =
        |function: &&PciFunction| !matches!(function.sriov, SriovRole::Virtual { .. });
    let gpus = snapshot.functions.values();
    for gpu in gpus.filter(|gpu| gpu.class.is_gpu()).filter(is_physical) {
        slots.entry(gpu.address.first_of_slot()).or_insert(gpu);
    }
    let mut places = Vec::new();
    let mut unseen = Vec::new();
    for gpu in slots.into_values() {
        match PciPath::find(&snapshot.functions, gpu.address) {
            Some(path) => places.push(Place {
                path,
                address: gpu.address,
                identity: gpu.identity,
            }),
            None => unseen.push(gpu.address),
        }
    }
    (places, unseen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::sample::{at, bridge, function, machine};

    fn addresses(places: &[Place]) -> Vec<String> {
        places
            .iter()
            .map(|place| place.address.to_string())
            .collect()
    }

    #[test]
    fn every_slot_with_a_gpu_is_one_place() {
        let snapshot = machine([
            bridge("00:01.0"),
            function("00:02.0", 0x03_0000),
            function("00:02.1", 0x03_8000),
            function("01:00.0", 0x03_0200).below("00:01.0"),
            function("01:00.1", 0x04_0300).below("00:01.0"),
            function("02:00.0", 0x12_0000),
            function("03:00.0", 0x02_0000),
        ]);
        let (places, unseen) = find_places(&snapshot);
        assert_eq!(
            addresses(&places),
            ["0000:00:02.0", "0000:01:00.0", "0000:02:00.0"]
        );
        assert_eq!(places[1].path.to_string(), "pci0000:00/01.0/00.0");
        assert_eq!(unseen, []);
    }

    #[test]
    fn virtual_functions_are_no_places_even_where_they_share_a_slot() {
        let virtual_at = |address| function(address, 0x03_0200).virtual_of("03:00.0");
        let snapshot = machine([
            function("03:00.0", 0x03_0200),
            virtual_at("03:00.1"),
            virtual_at("03:01.0"),
        ]);
        assert_eq!(addresses(&find_places(&snapshot).0), ["0000:03:00.0"]);
    }

    #[test]
    fn a_gpu_whose_bridge_is_not_seen_has_no_place() {
        let snapshot = machine([function("01:00.0", 0x03_0000).below("00:01.0")]);
        let (places, unseen) = find_places(&snapshot);
        assert_eq!((places, unseen), (Vec::new(), vec![at("01:00.0")]));
    }
}
