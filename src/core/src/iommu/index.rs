//! Which functions are in which group, looked up without a walk over the machine.

use std::collections::BTreeMap;

use crate::Snapshot;
use crate::pci::{GroupId, PciAddress, PciFunction};

/// The members of every group of one snapshot.
///
/// Made once where many devices are asked about: a machine can have tens of thousands of
/// functions, and a walk for each of them would be a walk too many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupIndex {
    groups: BTreeMap<GroupId, Vec<PciAddress>>,
}

impl GroupIndex {
    /// Walks over the machine.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut groups: BTreeMap<GroupId, Vec<PciAddress>> = BTreeMap::new();
        for function in snapshot.functions.values() {
            if let Some(group) = function.iommu_group {
                groups.entry(group).or_default().push(function.address);
            }
        }
        Self { groups }
    }

    /// The members of a group, bridges included, in the order of their addresses. `snapshot` is
    /// the one that the index was made of.
    pub fn members<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        group: GroupId,
    ) -> impl Iterator<Item = &'a PciFunction> {
        let addresses = self.groups.get(&group).map_or(&[][..], Vec::as_slice);
        addresses
            .iter()
            .filter_map(|address| snapshot.function(*address))
    }

    /// The numbers of all groups, in order.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied()
    }
}
