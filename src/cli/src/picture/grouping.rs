//! The groups, as they are drawn: what each is called, how it is painted, whether it is true.

use std::collections::{BTreeMap, BTreeSet};

use vfioctl_core::iommu::{Partition, Separation, Verdict};
use vfioctl_core::pci::PciAddress;
use vfioctl_core::{Answer, Snapshot};

use super::forest::{Forest, Index};
use super::palette::{self, Paint};

/// The groups of a machine.
#[derive(Debug)]
pub(super) struct Grouping {
    pub(super) groups: Vec<Group>,
    /// For each function, the group that it is in.
    group_of: Vec<Option<usize>>,
    /// Whether a boot would make the groups, and the kernel has none.
    pub(super) is_predicted: bool,
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// What it is called: its number.
    pub(super) name: String,
    pub(super) members: Vec<Index>,
    pub(super) kind: GroupKind,
    pub(super) paint: Paint,
    /// How many devices it ties together; bridges and the machine's plumbing do not count.
    pub(super) devices: usize,
    /// What is not true about its separation.
    pub(super) lie: Option<Verdict>,
    /// Whether all its members are small and lie on one bus: none of them is drawn as a box.
    pub(super) is_compact: bool,
}

/// What a group means for who wants to give devices away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupKind {
    /// A GPU that is tied to other devices.
    GpuShared,
    /// A GPU that has its group for itself.
    GpuAlone,
    /// Several devices, no GPU.
    Shared,
    /// At most one device, no GPU.
    Plain,
}

impl Grouping {
    /// The kernel's groups, or those that a boot would make where the kernel has none.
    /// `separation` is as the machine is drawn.
    pub(super) fn of(
        snapshot: &Snapshot,
        separation: &Separation,
        forest: &Forest<'_>,
        is_predicted: bool,
    ) -> Self {
        let partition = if is_predicted {
            separation.registers()
        } else {
            separation.kernel()
        };
        let index_of: BTreeMap<PciAddress, Index> = forest
            .nodes()
            .iter()
            .enumerate()
            .map(|(index, node)| (node.function.address, index))
            .collect();
        let mut group_of = vec![None; forest.nodes().len()];
        let mut colours = palette::SHARED_GPU.iter().cycle();
        let mut groups = Vec::new();
        for (number, addresses) in partition.groups().iter().enumerate() {
            let mut members: Vec<Index> = addresses
                .iter()
                .filter_map(|address| index_of.get(address).copied())
                .collect();
            members.sort_unstable();
            for slot in &members {
                if let Some(slot) = group_of.get_mut(*slot) {
                    *slot = Some(number);
                }
            }
            let devices = count_devices(forest, &members);
            let has_gpu = members.iter().any(|index| is_gpu(forest, *index));
            let kind = match (has_gpu, devices > 1) {
                (true, true) => GroupKind::GpuShared,
                (true, false) => GroupKind::GpuAlone,
                (false, true) => GroupKind::Shared,
                (false, false) => GroupKind::Plain,
            };
            let paint = match kind {
                GroupKind::GpuShared => colours.next().copied().unwrap_or(palette::SHARED),
                GroupKind::GpuAlone => palette::GPU_ALONE,
                GroupKind::Shared => palette::SHARED,
                GroupKind::Plain => palette::QUIET,
            };
            // What the kernel keeps together it does not call separate; and a large group would
            // be looked through once for each member.
            let is_apart = is_predicted || devices <= 1;
            let lie = addresses
                .iter()
                .filter(|_| is_apart)
                .filter_map(|address| find_lie(separation, partition, *address, is_predicted))
                .max();
            groups.push(Group {
                name: name(snapshot, addresses, number, is_predicted),
                is_compact: is_compact(snapshot, forest, &members, kind, lie),
                members,
                kind,
                paint,
                devices,
                lie,
            });
        }
        Self {
            groups,
            group_of,
            is_predicted,
        }
    }

    /// The number of the group in the list, where the function is in one.
    pub(super) fn number(&self, index: Index) -> Option<usize> {
        self.group_of.get(index).copied().flatten()
    }

    /// The group that a function is in.
    pub(super) fn group(&self, index: Index) -> Option<&Group> {
        self.groups.get(self.number(index)?)
    }

    /// Whether a function is drawn small, beside others of its bus.
    pub(super) fn is_compact(
        &self,
        snapshot: &Snapshot,
        forest: &Forest<'_>,
        index: Index,
    ) -> bool {
        match self.group(index) {
            Some(group) => group.is_compact,
            None => is_small(snapshot, forest, index),
        }
    }
}

impl Group {
    /// Whether its islands bear its name; the others have it in their boxes only.
    pub(super) fn is_labelled(&self) -> bool {
        !self.is_compact && (self.kind != GroupKind::Plain || self.lie.is_some())
    }
}

/// Whether a function is what people call a GPU.
pub(super) fn is_gpu(forest: &Forest<'_>, index: Index) -> bool {
    forest
        .node(index)
        .is_some_and(|node| node.function.class.is_gpu() && !node.is_port())
}

/// Whether a function could be given away at all.
pub(super) fn is_device(forest: &Forest<'_>, index: Index) -> bool {
    forest
        .node(index)
        .is_some_and(|node| !node.is_port() && !node.function.class.is_platform())
}

fn count_devices(forest: &Forest<'_>, members: &[Index]) -> usize {
    let slots: BTreeSet<PciAddress> = members
        .iter()
        .filter(|index| is_device(forest, **index))
        .filter_map(|index| Some(forest.node(*index)?.function.address.first_of_slot()))
        .collect();
    slots.len()
}

fn name(
    snapshot: &Snapshot,
    addresses: &[PciAddress],
    number: usize,
    is_predicted: bool,
) -> String {
    let kernel = addresses
        .first()
        .and_then(|address| snapshot.function(*address)?.iommu_group);
    match kernel {
        Some(group) if !is_predicted => group.to_string(),
        // The kernel's numbers depend on the order of its boot, so these are no numbers of its.
        _ => format!("P{}", number + 1),
    }
}

fn find_lie(
    separation: &Separation,
    partition: &Partition,
    address: PciAddress,
    is_predicted: bool,
) -> Option<Verdict> {
    let isolation = separation.isolation(address)?;
    let audit = separation.audit(address)?;
    if is_predicted {
        // Without groups of the kernel every function behind the switch is a partner.
        let is_apart = |at: &PciAddress| !partition.joins(address, *at);
        return audit
            .switch_partners
            .iter()
            .any(is_apart)
            .then_some(Verdict::OpenSwitch);
    }
    // A port has no partners, and its own group matters to nobody.
    let is_known = isolation.isolates != Answer::CannotSee;
    (is_known && audit.verdict.is_a_lie()).then_some(audit.verdict)
}

fn is_compact(
    snapshot: &Snapshot,
    forest: &Forest<'_>,
    members: &[Index],
    kind: GroupKind,
    lie: Option<Verdict>,
) -> bool {
    let place = |index: &Index| {
        forest.node(*index).map(|node| {
            let address = node.function.address;
            (node.parent, address.domain(), address.bus())
        })
    };
    let is_without_gpu = matches!(kind, GroupKind::Shared | GroupKind::Plain);
    is_without_gpu
        && lie.is_none()
        && members
            .iter()
            .all(|index| is_small(snapshot, forest, *index))
        && members.windows(2).all(|pair| match pair {
            [one, other] => place(one) == place(other),
            _ => true,
        })
}

/// Whether a function needs no box: plumbing of a root bus, an empty port, a virtual function.
fn is_small(snapshot: &Snapshot, forest: &Forest<'_>, index: Index) -> bool {
    let Some(node) = forest.node(index) else {
        return false;
    };
    let is_virtual = matches!(
        node.function.sriov,
        vfioctl_core::pci::SriovRole::Virtual { .. }
    );
    let is_in_use = snapshot.host_uses.contains_key(&node.function.address);
    node.children.is_empty()
        && !is_gpu(forest, index)
        && !is_in_use
        && (node.parent.is_none() || is_virtual)
}
