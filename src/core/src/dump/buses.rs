//! Which bridge is above each bus, and which bridges a dump does not hold.
//!
//! A bridge is above the buses from its secondary to its subordinate one (PCI Express Base 6.0,
//! section 7.5.1.3). Kernel: `drivers/pci/probe.c` gives a bridge only buses above its own, so a
//! bridge that names others is broken, or not set up yet, and is above nothing: no walk upward
//! can come back to where it began.

use std::collections::{BTreeMap, BTreeSet};

use crate::pci::{PciAddress, PciFunction, SriovRole};

use super::device::is_of_root_bus;

/// A bus of a domain.
type Bus = (u32, u8);

/// A bridge and its buses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bridge {
    pub(super) address: PciAddress,
    pub(super) secondary: u8,
    pub(super) subordinate: u8,
}

/// Puts the bridge above each function into it, and names the bridges that are missing.
///
/// `has_unnumbered`: domains where some bridge's buses are not told.
pub(super) fn link(
    functions: &mut BTreeMap<PciAddress, PciFunction>,
    bridges: &[Bridge],
    has_unnumbered: &BTreeSet<u32>,
) -> Vec<String> {
    let above = bridges_above(bridges);
    let is_root = root_buses(functions, has_unnumbered);
    let mut missing: BTreeSet<Bus> = BTreeSet::new();
    for function in functions.values_mut() {
        let bus = (function.address.domain(), function.address.bus());
        let bridge = above.get(&bus);
        function.upstream = bridge.map(|bridge| bridge.address);
        let is_missing = match bridge {
            // Virtual functions sit on buses of their own, which no bridge is told of.
            Some(_) if matches!(function.sriov, SriovRole::Virtual { .. }) => false,
            Some(bridge) => bridge.secondary != bus.1,
            None => is_root.get(&bus) == Some(&false),
        };
        if is_missing {
            missing.insert(bus);
        }
    }
    missing
        .into_iter()
        .map(|(domain, bus)| format!("the bridge to bus {domain:04x}:{bus:02x}"))
        .collect()
}

/// The innermost bridge above each bus.
fn bridges_above(bridges: &[Bridge]) -> BTreeMap<Bus, Bridge> {
    let mut above: BTreeMap<Bus, Bridge> = BTreeMap::new();
    for bridge in bridges {
        if bridge.secondary <= bridge.address.bus() {
            continue;
        }
        for bus in bridge.secondary..=bridge.subordinate.max(bridge.secondary) {
            let place = above
                .entry((bridge.address.domain(), bus))
                .or_insert(*bridge);
            // Innermost is the one that begins last; of two, the smaller.
            let rank = |of: &Bridge| (of.secondary, u8::MAX - of.subordinate);
            if rank(bridge) > rank(place) {
                *place = *bridge;
            }
        }
    }
    above
}

/// Whether each bus is a root bus, as far as nobody is seen above it.
fn root_buses(
    functions: &BTreeMap<PciAddress, PciFunction>,
    has_unnumbered: &BTreeSet<u32>,
) -> BTreeMap<Bus, bool> {
    let mut told: BTreeMap<Bus, Option<bool>> = BTreeMap::new();
    for function in functions.values() {
        let bus = (function.address.domain(), function.address.bus());
        let entry = told.entry(bus).or_default();
        *entry = match (*entry, is_of_root_bus(function)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (known, None) => known,
            (_, known) => known,
        };
    }
    let has_first_bus: BTreeSet<u32> = told
        .keys()
        .filter(|(_, bus)| *bus == 0)
        .map(|(domain, _)| *domain)
        .collect();
    told.into_iter()
        .map(|(bus, told)| {
            let (domain, number) = bus;
            // Nothing is above bus 0. Of the others, types tell; where they do not, a bus that no
            // bridge of a whole machine leads to is a root bus.
            let is_whole = has_first_bus.contains(&domain) && !has_unnumbered.contains(&domain);
            (bus, number == 0 || told.unwrap_or(is_whole))
        })
        .collect()
}
