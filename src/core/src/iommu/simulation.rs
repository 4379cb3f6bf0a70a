//! Linux's own grouping, as a machine that can be booted and changed without one.
//!
//! Kernel: `drivers/iommu/iommu.c`, `pci_device_group`; `drivers/pci/search.c`,
//! `pci_for_each_dma_alias`. The algorithm is the same from Linux 3.18 to the 7 series
//! ([`ALGORITHM`]). A group is chosen once for each function, when it is added, and nothing ever
//! looks again: so what a machine has now depends on its history, and a function must be removed
//! and found again to be grouped anew.

use crate::Answer;
use crate::acs::{Acs, Candidate, Isolation, Platform, judge};
use crate::config::PcieType;
use crate::pci::PciAddress;

use super::dma_alias::is_translation_root;
use super::topology::{Index, Topology};

/// The name of the algorithm that is followed: a kernel that groups by another one is told apart,
/// not guessed at.
pub const ALGORITHM: &str = "linux-3.18";

/// How what cannot be seen is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hidden {
    /// As isolating.
    Isolates,
    /// As not isolating.
    Joins,
}

/// Why a function is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It opened the group.
    Own,
    /// A bridge above it, or one above that, does not isolate: it is in that bridge's group.
    Below(Index),
    /// Requests arrive under the number of this bridge.
    Alias(Index),
    /// A function of its slot does not isolate, as it does not itself; or one of its bus sends
    /// under its number, or it under theirs.
    Neighbour(Index),
    /// This device does DMA in its stead.
    DmaDevice(Index),
}

/// Number of a group within a simulation.
pub(super) type GroupNumber = u32;

/// A machine whose groups follow from what is done to it.
#[derive(Debug, Clone)]
pub struct Simulation<'a> {
    topology: &'a Topology,
    platform: &'a Platform,
    hidden: Hidden,
    acs: Vec<Answer<Option<Acs>>>,
    is_present: Vec<bool>,
    /// Whether the kernel has marked a function as one of several because it found it under a
    /// number above 0: it does so only after the group was made
    /// (`drivers/pci/probe.c`, `pci_scan_slot`).
    was_scanned: Vec<bool>,
    groups: Vec<Option<(GroupNumber, Cause)>>,
    next_group: GroupNumber,
    isolates: Vec<Option<bool>>,
    path_isolates: Vec<Option<bool>>,
}

impl<'a> Simulation<'a> {
    /// The machine after a boot, with the registers as the topology has them.
    pub(super) fn boot(topology: &'a Topology, platform: &'a Platform, hidden: Hidden) -> Self {
        let mut this = Self::empty(topology, platform, hidden);
        this.is_present.fill(true);
        this.was_scanned.fill(true);
        for index in topology.order() {
            this.assign(*index);
        }
        this
    }

    /// The machine as it is: in the groups that the kernel has now. Everything that is there was
    /// found long ago.
    pub fn of_kernel(topology: &'a Topology, platform: &'a Platform) -> Self {
        let mut this = Self::empty(topology, platform, Hidden::Joins);
        this.is_present.fill(true);
        this.was_scanned.fill(true);
        for (slot, node) in this.groups.iter_mut().zip(topology.nodes()) {
            *slot = node.kernel_group.map(|group| (group.0, Cause::Own));
            if let Some(group) = node.kernel_group {
                this.next_group = this.next_group.max(group.0.saturating_add(1));
            }
        }
        this
    }

    fn empty(topology: &'a Topology, platform: &'a Platform, hidden: Hidden) -> Self {
        let len = topology.len();
        Self {
            topology,
            platform,
            hidden,
            acs: topology.nodes().iter().map(|node| node.acs).collect(),
            is_present: vec![false; len],
            was_scanned: vec![false; len],
            groups: vec![None; len],
            next_group: 0,
            isolates: vec![None; len],
            path_isolates: vec![None; len],
        }
    }

    /// Writes the control register of a function; the groups stay.
    pub fn set_acs(&mut self, address: PciAddress, control: u16) {
        if let Some(index) = self.topology.index(address) {
            self.set_control(index, control);
        }
    }

    fn set_control(&mut self, index: Index, control: u16) {
        if let Some(Answer::Known(Some(acs))) = self.acs.get_mut(index) {
            *acs = acs.with_control(control);
            self.forget_judgements();
        }
    }

    /// Removes a function and everything below it.
    pub fn remove(&mut self, address: PciAddress) {
        let Some(index) = self.topology.index(address) else {
            return;
        };
        let mut gone = self.topology.subtree(index);
        // Virtual functions go with their physical one, as its driver ends them when it is unbound
        // (`pci-pf-stub` alone does not), and do not come back by themselves.
        let virtual_functions =
            self.topology
                .nodes()
                .iter()
                .enumerate()
                .filter_map(|(at, node)| {
                    node.physical
                        .is_some_and(|physical| gone.contains(&physical))
                        .then_some(at)
                });
        gone.extend(virtual_functions.collect::<Vec<_>>());
        for gone in gone {
            set(&mut self.is_present, gone, false);
            set(&mut self.was_scanned, gone, false);
            set(&mut self.groups, gone, None);
        }
        self.forget_judgements();
    }

    /// Looks for functions on the bus below a bridge, and on the buses below that one; `None`:
    /// on all root buses.
    pub fn rescan(&mut self, bridge: Option<PciAddress>) {
        let bridge = match bridge {
            None => None,
            Some(address) => match self.topology.index(address) {
                Some(index) => Some(index),
                None => return,
            },
        };
        let missing: Vec<Index> = self
            .topology
            .order()
            .iter()
            .copied()
            .filter(|index| !self.is_present(*index))
            .filter(|index| {
                self.topology
                    .node(*index)
                    .is_some_and(|node| !node.is_virtual)
            })
            .filter(|index| {
                bridge.is_none_or(|bridge| self.topology.path(*index).any(|above| above == bridge))
            })
            .collect();
        for index in missing {
            // A function is found only where the bridges above it are there.
            let is_reachable = self
                .topology
                .path(index)
                .all(|above| self.is_present(above));
            if is_reachable {
                self.add(index);
            }
        }
    }

    /// A physical function ends its virtual ones and makes so many of those that the topology
    /// has: they are found by their number, not by a scan (`drivers/pci/iov.c`, `sriov_enable`).
    pub fn set_virtual_functions(&mut self, physical: PciAddress, count: usize) {
        let Some(physical) = self.topology.index(physical) else {
            return;
        };
        let of_it = |node: &super::topology::Node| node.physical == Some(physical);
        let all: Vec<Index> = (0..self.topology.len())
            .filter(|index| self.topology.node(*index).is_some_and(of_it))
            .collect();
        for index in &all {
            set(&mut self.is_present, *index, false);
            set(&mut self.groups, *index, None);
        }
        if self.is_present(physical) {
            for index in all.into_iter().take(count) {
                self.add(index);
            }
        }
    }

    /// The ACS registers of a function, where it has them. A function that was removed keeps them.
    pub fn acs(&self, address: PciAddress) -> Option<Acs> {
        self.acs
            .get(self.topology.index(address)?)?
            .known()
            .flatten()
    }

    fn add(&mut self, index: Index) {
        set(&mut self.is_present, index, true);
        if let (Some(Answer::Known(Some(acs))), Some(node)) =
            (self.acs.get(index).copied(), self.topology.node(index))
        {
            // Virtual functions get no ACS setup of their own that would matter here.
            let control = self.platform.acs_parameters.control_when_added(
                acs,
                node.identity,
                &self.topology.path_addresses(index),
            );
            self.set_control(index, control);
        }
        self.assign(index);
        // Only now is a function above 0 known to be one of several.
        set(&mut self.was_scanned, index, true);
        if self
            .topology
            .address(index)
            .is_some_and(|at| at.function() > 0)
        {
            self.forget_judgements();
        }
    }

    /// The groups, each in the order of addresses, ordered by their first members.
    pub fn groups(&self) -> Vec<Vec<PciAddress>> {
        let mut by_number: Vec<(GroupNumber, PciAddress)> = self
            .topology
            .nodes()
            .iter()
            .zip(&self.groups)
            .filter_map(|(node, group)| Some(((*group)?.0, node.address)))
            .collect();
        by_number.sort_unstable();
        let mut groups: Vec<Vec<PciAddress>> = by_number
            .chunk_by(|left, right| left.0 == right.0)
            .map(|members| members.iter().map(|(_, address)| *address).collect())
            .collect();
        groups.sort_unstable();
        groups
    }

    pub(super) fn group(&self, index: Index) -> Option<GroupNumber> {
        self.groups
            .get(index)
            .copied()
            .flatten()
            .map(|(number, _)| number)
    }

    pub(super) fn cause(&self, index: Index) -> Option<Cause> {
        self.groups
            .get(index)
            .copied()
            .flatten()
            .map(|(_, cause)| cause)
    }

    pub(super) fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// Whether nothing that decides is hidden.
    pub(super) fn sees_everything(&self) -> bool {
        self.topology
            .nodes()
            .iter()
            .enumerate()
            .all(|(index, node)| {
                !matches!(node.pcie_type, Answer::CannotSee)
                    && !matches!(self.judge(index).isolates, Answer::CannotSee)
            })
    }

    /// The bits which, set, would make a function isolate that does not; `None` where no bits
    /// would.
    pub(super) fn bits_that_would_isolate(&self, index: Index) -> Option<u16> {
        let acs = self.acs.get(index)?.known().flatten()?;
        let missing = acs.missing();
        if missing == 0 {
            return None;
        }
        let enabled = self.judge_with(index, Answer::Known(Some(acs.enabled())));
        (enabled.isolates == Answer::Known(true)).then_some(missing)
    }

    /// Whether a function isolates now, and why.
    pub(super) fn judge(&self, index: Index) -> Isolation {
        self.judge_with(
            index,
            self.acs.get(index).copied().unwrap_or(Answer::CannotSee),
        )
    }

    fn judge_with(&self, index: Index, acs: Answer<Option<Acs>>) -> Isolation {
        let Some(node) = self.topology.node(index) else {
            return HIDDEN;
        };
        let of = |is_multifunction| {
            judge(
                &Candidate {
                    identity: node.identity,
                    pcie_type: node.pcie_type,
                    acs,
                    is_multifunction,
                    is_on_root_bus: node.upstream.is_none(),
                },
                self.platform,
            )
        };
        match self.is_multifunction(index) {
            Answer::Known(is_multifunction) => of(is_multifunction),
            // Hidden, but perhaps of no account.
            Answer::CannotSee => match (of(true), of(false)) {
                (one, other) if one.isolates == other.isolates => one,
                _ => HIDDEN,
            },
        }
    }

    fn is_multifunction(&self, index: Index) -> Answer<bool> {
        let Some(node) = self.topology.node(index) else {
            return Answer::CannotSee;
        };
        if node.is_virtual {
            return Answer::Known(false);
        }
        let was_scanned = self.was_scanned.get(index).copied().unwrap_or_default();
        if node.address.function() > 0 && was_scanned {
            return Answer::Known(true);
        }
        node.multifunction_bit
    }

    fn is_present(&self, index: Index) -> bool {
        self.is_present.get(index).copied().unwrap_or_default()
    }

    fn forget_judgements(&mut self) {
        self.isolates.fill(None);
        self.path_isolates.fill(None);
    }

    fn isolates(&mut self, index: Index) -> bool {
        if let Some(known) = self.isolates.get(index).copied().flatten() {
            return known;
        }
        let isolates = match self.judge(index).isolates {
            Answer::Known(isolates) => isolates,
            Answer::CannotSee => self.hidden == Hidden::Isolates,
        };
        set(&mut self.isolates, index, Some(isolates));
        isolates
    }

    /// Whether a bridge and every bridge above it isolate (`pci_acs_path_enabled`).
    fn path_isolates(&mut self, bridge: Index) -> bool {
        let mut undecided = Vec::new();
        let mut at = Some(bridge);
        let mut isolates = true;
        while let Some(index) = at {
            if let Some(known) = self.path_isolates.get(index).copied().flatten() {
                isolates = known;
                break;
            }
            undecided.push(index);
            at = self.topology.upstream(index);
        }
        for index in undecided.into_iter().rev() {
            isolates = isolates && self.isolates(index);
            set(&mut self.path_isolates, index, Some(isolates));
        }
        isolates
    }

    fn assign(&mut self, index: Index) {
        let is_covered = self
            .topology
            .node(index)
            .is_some_and(|node| node.is_covered);
        if !is_covered {
            return;
        }
        let found = self.find_group(index);
        let group = found.unwrap_or_else(|| {
            let number = self.next_group;
            self.next_group = self.next_group.saturating_add(1);
            (number, Cause::Own)
        });
        set(&mut self.groups, index, Some(group));
    }

    /// `pci_device_group`: the group that a function joins, where it does not open one.
    fn find_group(&mut self, index: Index) -> Option<(GroupNumber, Cause)> {
        let topology = self.topology;
        let dma_device = topology.node(index)?.dma_device;
        if let Some(device) = dma_device
            && let Some(group) = self.group(device)
        {
            return Some((group, Cause::DmaDevice(device)));
        }
        let mut top = dma_device.unwrap_or(index);
        let mut why = Cause::Own;
        for bridge in topology.path(top) {
            let Some(node) = topology.node(bridge) else {
                break;
            };
            if is_translation_root(node.identity) {
                break;
            }
            if !self.aliases(node.pcie_type) {
                continue;
            }
            top = bridge;
            why = Cause::Alias(bridge);
            if let Some(group) = self.group(bridge) {
                return Some((group, why));
            }
        }
        for bridge in topology.path(top) {
            if self.path_isolates(bridge) {
                break;
            }
            top = bridge;
            why = Cause::Below(bridge);
            if let Some(group) = self.group(bridge) {
                return Some((group, why));
            }
        }
        let mut seen = vec![top];
        let found = self
            .group(top)
            .map(|group| (group, top))
            .or_else(|| self.group_of_aliases(top, &mut seen))
            .or_else(|| self.group_of_functions(top, &mut seen));
        found.map(|(group, partner)| {
            let cause = if why == Cause::Own {
                Cause::Neighbour(partner)
            } else {
                why
            };
            (group, cause)
        })
    }

    /// Whether requests from below a bridge arrive under the bridge's number.
    fn aliases(&self, pcie_type: Answer<Option<PcieType>>) -> bool {
        match pcie_type {
            Answer::Known(None) => true,
            Answer::Known(Some(kind)) => {
                matches!(kind, PcieType::PcieToPciBridge | PcieType::PciToPcieBridge)
            }
            Answer::CannotSee => self.hidden == Hidden::Joins,
        }
    }

    /// `get_pci_alias_group`: functions of the bus that send under each other's numbers.
    fn group_of_aliases(
        &mut self,
        index: Index,
        seen: &mut Vec<Index>,
    ) -> Option<(GroupNumber, Index)> {
        let partners: Vec<Index> = self
            .topology
            .bus(index)
            .filter(|other| *other != index && self.are_aliases(index, *other))
            .collect();
        partners
            .into_iter()
            .find_map(|partner| self.group_of_neighbour(partner, seen))
    }

    /// `get_pci_function_alias_group`: functions of the slot that do not isolate either.
    fn group_of_functions(
        &mut self,
        index: Index,
        seen: &mut Vec<Index>,
    ) -> Option<(GroupNumber, Index)> {
        let is_one_of_several = match self.is_multifunction(index) {
            Answer::Known(is) => is,
            Answer::CannotSee => self.hidden == Hidden::Joins,
        };
        if !is_one_of_several || self.isolates(index) {
            return None;
        }
        let siblings: Vec<Index> = self
            .topology
            .slot(index)
            .filter(|other| *other != index && self.is_present(*other))
            .collect();
        siblings.into_iter().find_map(|sibling| {
            if self.isolates(sibling) {
                return None;
            }
            // Of a sibling only the group and its aliases count: its own siblings are ours.
            self.group_of_alias_chain(sibling, seen)
        })
    }

    fn group_of_alias_chain(
        &mut self,
        index: Index,
        seen: &mut Vec<Index>,
    ) -> Option<(GroupNumber, Index)> {
        if seen.contains(&index) {
            return None;
        }
        seen.push(index);
        if let Some(group) = self.group(index) {
            return Some((group, index));
        }
        self.group_of_aliases(index, seen)
    }

    fn group_of_neighbour(
        &mut self,
        index: Index,
        seen: &mut Vec<Index>,
    ) -> Option<(GroupNumber, Index)> {
        self.group_of_alias_chain(index, seen)
            .or_else(|| self.group_of_functions(index, seen))
    }

    /// `pci_devs_are_dma_aliases`.
    fn are_aliases(&self, one: Index, other: Index) -> bool {
        let (Some(one), Some(other_node)) = (self.topology.node(one), self.topology.node(other))
        else {
            return false;
        };
        let sends = |from: &super::topology::Node, to: &super::topology::Node| {
            from.dma_alias
                .is_some_and(|alias| alias.sends_as(from.address, to.address))
        };
        self.is_present(other) && (sends(one, other_node) || sends(other_node, one))
    }
}

const HIDDEN: Isolation = Isolation {
    isolates: Answer::CannotSee,
    because: crate::acs::Reason::Hidden,
};

fn set<T>(values: &mut [T], index: Index, value: T) {
    if let Some(slot) = values.get_mut(index) {
        *slot = value;
    }
}
