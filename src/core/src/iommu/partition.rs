//! Groups that can be asked who is with whom.

use std::collections::BTreeMap;

use crate::pci::PciAddress;

/// Which functions share a group, without any numbers: two machines with the same partition are
/// grouped alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    groups: Vec<Vec<PciAddress>>,
    group_of: BTreeMap<PciAddress, usize>,
}

impl Partition {
    /// Takes groups, in any order.
    pub fn new(mut groups: Vec<Vec<PciAddress>>) -> Self {
        for group in &mut groups {
            group.sort_unstable();
        }
        groups.retain(|group| !group.is_empty());
        groups.sort_unstable();
        let group_of = groups
            .iter()
            .enumerate()
            .flat_map(|(number, group)| group.iter().map(move |address| (*address, number)))
            .collect();
        Self { groups, group_of }
    }

    /// The groups, each in the order of addresses, ordered by their first members.
    pub fn groups(&self) -> &[Vec<PciAddress>] {
        &self.groups
    }

    /// The members of the group that a function is in; empty where it is in none.
    pub fn members(&self, address: PciAddress) -> &[PciAddress] {
        self.group_of
            .get(&address)
            .and_then(|number| self.groups.get(*number))
            .map_or(&[], Vec::as_slice)
    }

    /// Whether two functions share a group.
    pub fn joins(&self, one: PciAddress, other: PciAddress) -> bool {
        self.members(one).contains(&other)
    }

    /// The same groups with only those members of which `keeps` says yes.
    #[must_use]
    pub fn restricted(&self, keeps: impl Fn(PciAddress) -> bool) -> Self {
        let only =
            |group: &Vec<PciAddress>| group.iter().copied().filter(|at| keeps(*at)).collect();
        Self::new(self.groups.iter().map(only).collect())
    }

    /// Whether every group of this one lies within a group of the other.
    pub fn refines(&self, other: &Self) -> bool {
        self.groups.iter().all(|group| {
            let Some(first) = group.first() else {
                return true;
            };
            let whole = other.members(*first);
            group.iter().all(|member| whole.contains(member))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(groups: &[&[&str]]) -> Partition {
        let parse = |group: &&[&str]| group.iter().map(|at| at.parse().unwrap()).collect();
        Partition::new(groups.iter().map(parse).collect())
    }

    #[test]
    fn the_order_of_groups_and_members_is_of_no_account() {
        let one = partition(&[&["00:01.0", "01:00.0"], &["00:00.0"]]);
        let other = partition(&[&["00:00.0"], &["01:00.0", "00:01.0"], &[]]);
        assert_eq!(one, other);
    }

    #[test]
    fn a_finer_partition_refines_a_coarser_one_and_not_the_other_way() {
        let coarse = partition(&[&["00:01.0", "01:00.0"], &["00:00.0"]]);
        let fine = partition(&[&["00:01.0"], &["01:00.0"], &["00:00.0"]]);
        assert!(fine.refines(&coarse));
        assert!(!coarse.refines(&fine));
        assert!(fine.refines(&fine));
    }
}
