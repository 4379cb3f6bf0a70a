//! The bridges and what hangs below them, in the form that grouping walks over.

use std::collections::BTreeMap;

use crate::acs::{Acs, AcsParameters};
use crate::config::PcieType;
use crate::pci::{ClassCode, GroupId, Identity, PciAddress, SriovRole};
use crate::{Answer, Snapshot};

use super::dma_alias::DmaAlias;

/// Where a function stands in a [`Topology`].
pub(super) type Index = usize;

/// One function, as far as grouping looks at it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) address: PciAddress,
    pub(super) identity: Identity,
    pub(super) class: ClassCode,
    pub(super) upstream: Option<Index>,
    pub(super) pcie_type: Answer<Option<PcieType>>,
    pub(super) acs: Answer<Option<Acs>>,
    pub(super) multifunction_bit: Answer<bool>,
    pub(super) is_bridge: bool,
    pub(super) is_virtual: bool,
    /// The physical function of a virtual one.
    pub(super) physical: Option<Index>,
    /// The function that does DMA in its stead: an Intel VMD for what is behind it.
    pub(super) dma_device: Option<Index>,
    pub(super) dma_alias: Option<DmaAlias>,
    /// The group that the kernel has it in.
    pub(super) kernel_group: Option<GroupId>,
    /// Whether an IOMMU covers it; others are in no group, which registers cannot tell.
    pub(super) is_covered: bool,
}

/// The functions of a machine, with the bridges above them.
#[derive(Debug, Clone)]
pub struct Topology {
    nodes: Vec<Node>,
    by_address: BTreeMap<PciAddress, Index>,
    /// For each function, where its children lie in `children`.
    child_ranges: Vec<(usize, usize)>,
    children: Vec<Index>,
    /// The order in which the kernel finds the functions at boot.
    order: Vec<Index>,
}

/// Base class and subclass of an IOMMU that is a PCI function: AMD's.
const CLASS_IOMMU: (u8, u8) = (0x08, 0x06);
/// Domains from here on are made by Intel VMD, in the order of the devices
/// (`drivers/pci/controller/vmd.c`, `vmd_find_free_domain`).
const FIRST_VMD_DOMAIN: u32 = 0x1_0000;
/// Device IDs of Intel VMD (`drivers/pci/controller/vmd.c`, `vmd_ids`).
const VMD_IDS: [u16; 9] = [
    0x201d, 0x28c0, 0x467f, 0x4c3d, 0x7d0b, 0x9a0b, 0xa77f, 0xad0b, 0xb60b,
];

impl Topology {
    /// Takes what a snapshot says. Bridges that form a ring, on a broken or hostile input, are
    /// taken apart.
    pub fn of(snapshot: &Snapshot) -> Self {
        let by_address: BTreeMap<PciAddress, Index> = snapshot
            .functions
            .keys()
            .enumerate()
            .map(|(index, address)| (*address, index))
            .collect();
        let vmds: Vec<Index> = snapshot
            .functions
            .values()
            .enumerate()
            .filter(|(_, function)| {
                function.identity.vendor == 0x8086 && VMD_IDS.contains(&function.identity.device)
            })
            .map(|(index, _)| index)
            .collect();
        let has_groups = snapshot
            .functions
            .values()
            .any(|function| function.iommu_group.is_some());
        let nodes: Vec<Node> = snapshot
            .functions
            .values()
            .map(|function| {
                let is_iommu = (function.class.base(), function.class.subclass()) == CLASS_IOMMU;
                Node {
                    address: function.address,
                    identity: function.identity,
                    class: function.class,
                    upstream: function
                        .upstream
                        .and_then(|above| by_address.get(&above).copied()),
                    pcie_type: function.pcie_type,
                    acs: function.acs,
                    multifunction_bit: function.multifunction_bit,
                    is_bridge: function.is_bridge().known().unwrap_or_default(),
                    is_virtual: matches!(function.sriov, SriovRole::Virtual { .. }),
                    physical: match function.sriov {
                        SriovRole::Virtual { physical } => by_address.get(&physical).copied(),
                        _ => None,
                    },
                    dma_device: find_vmd(function.address, &vmds),
                    dma_alias: DmaAlias::of(function.identity),
                    kernel_group: function.iommu_group,
                    is_covered: if has_groups {
                        function.iommu_group.is_some()
                    } else {
                        !is_iommu
                    },
                }
            })
            .collect();
        let mut this = Self {
            child_ranges: vec![(0, 0); nodes.len()],
            children: Vec::new(),
            order: Vec::with_capacity(nodes.len()),
            nodes,
            by_address,
        };
        this.link_children();
        this.find_order();
        this
    }

    /// The same machine with the registers that a boot with an IOMMU and these parameters leaves.
    #[must_use]
    pub fn at_boot(&self, parameters: &AcsParameters) -> Self {
        let mut this = self.clone();
        for (index, node) in this.nodes.iter_mut().enumerate() {
            if let Answer::Known(Some(acs)) = node.acs {
                let path = self.path_addresses(index);
                let control = parameters.control_at_boot(acs, node.identity, &path);
                node.acs = Answer::Known(Some(acs.with_control(control)));
            }
        }
        this
    }

    fn link_children(&mut self) {
        let mut pairs: Vec<(Index, Index)> = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| Some((node.upstream?, index)))
            .collect();
        // Children keep the order of their addresses.
        pairs.sort_unstable();
        self.children = pairs.iter().map(|(_, child)| *child).collect();
        self.child_ranges.fill((0, 0));
        for (at, (parent, _)) in pairs.iter().enumerate() {
            if let Some(range) = self.child_ranges.get_mut(*parent) {
                if range.1 == 0 {
                    range.0 = at;
                }
                range.1 = at + 1;
            }
        }
    }

    /// A bus first, then what is below its bridges (`drivers/pci/probe.c`,
    /// `pci_scan_child_bus_extend`).
    fn find_order(&mut self) {
        let mut is_found = vec![false; self.nodes.len()];
        let roots: Vec<Index> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.upstream.is_none())
            .map(|(index, _)| index)
            .collect();
        // Root buses in turn: what is on one of them, and below, comes before the next.
        let buses: Vec<Vec<Index>> = roots
            .chunk_by(|left, right| self.is_same_bus(*left, *right))
            .map(<[Index]>::to_vec)
            .collect();
        for bus in buses {
            self.walk(bus, &mut is_found);
        }
        // Only functions whose bridges form a ring are left: each such ring is opened.
        let mut is_changed = false;
        for index in 0..self.nodes.len() {
            if is_found.get(index) == Some(&false) {
                if let Some(node) = self.nodes.get_mut(index) {
                    node.upstream = None;
                }
                is_changed = true;
                self.walk(vec![index], &mut is_found);
            }
        }
        if is_changed {
            self.link_children();
        }
    }

    fn walk(&mut self, bus: Vec<Index>, is_found: &mut [bool]) {
        let mut buses = vec![bus];
        while let Some(bus) = buses.pop() {
            let mut below = Vec::new();
            for index in bus {
                if let Some(found) = is_found.get_mut(index)
                    && !*found
                {
                    *found = true;
                    self.order.push(index);
                    let children = self.children(index);
                    if !children.is_empty() {
                        below.push(children.to_vec());
                    }
                }
            }
            // The first bridge's bus is to be popped first.
            below.reverse();
            buses.append(&mut below);
        }
    }

    fn is_same_bus(&self, left: Index, right: Index) -> bool {
        match (self.nodes.get(left), self.nodes.get(right)) {
            (Some(left), Some(right)) => {
                (left.address.domain(), left.address.bus())
                    == (right.address.domain(), right.address.bus())
            }
            _ => false,
        }
    }

    /// How many functions there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn node(&self, index: Index) -> Option<&Node> {
        self.nodes.get(index)
    }

    pub(super) fn index(&self, address: PciAddress) -> Option<Index> {
        self.by_address.get(&address).copied()
    }

    pub(super) fn address(&self, index: Index) -> Option<PciAddress> {
        self.nodes.get(index).map(|node| node.address)
    }

    pub(super) fn upstream(&self, index: Index) -> Option<Index> {
        self.nodes.get(index)?.upstream
    }

    /// The bridges above a function, nearest first.
    pub(super) fn path(&self, index: Index) -> impl Iterator<Item = Index> {
        std::iter::successors(self.upstream(index), |above| self.upstream(*above))
    }

    pub(super) fn children(&self, index: Index) -> &[Index] {
        let (from, to) = self.child_ranges.get(index).copied().unwrap_or_default();
        self.children.get(from..to).unwrap_or_default()
    }

    pub(super) fn order(&self) -> &[Index] {
        &self.order
    }

    /// The functions of a slot, the function itself included.
    pub(super) fn slot(&self, index: Index) -> impl Iterator<Item = Index> {
        self.neighbours(index, |own, other| own.is_same_slot(other))
    }

    /// The functions of a bus, the function itself included.
    pub(super) fn bus(&self, index: Index) -> impl Iterator<Item = Index> {
        self.neighbours(index, |own, other| {
            (own.domain(), own.bus()) == (other.domain(), other.bus())
        })
    }

    /// Functions that belong together lie side by side: addresses are ordered.
    fn neighbours(
        &self,
        index: Index,
        belongs: impl Fn(PciAddress, PciAddress) -> bool,
    ) -> impl Iterator<Item = Index> {
        let own = self.address(index);
        let is_of_it = move |at: Index| {
            let other = self.nodes.get(at).map(|node| node.address);
            matches!((own, other), (Some(own), Some(other)) if belongs(own, other))
        };
        let mut first = index;
        while first > 0 && is_of_it(first - 1) {
            first -= 1;
        }
        (first..self.nodes.len()).take_while(move |at| is_of_it(*at))
    }

    /// A function and everything below it, bridges before what is below them.
    pub(super) fn subtree(&self, index: Index) -> Vec<Index> {
        let mut all = vec![index];
        let mut at = 0;
        while let Some(next) = all.get(at).copied() {
            all.extend_from_slice(self.children(next));
            at += 1;
        }
        all
    }

    /// A function and the bridges above it, as addresses, nearest first.
    pub(super) fn path_addresses(&self, index: Index) -> Vec<PciAddress> {
        std::iter::once(index)
            .chain(self.path(index))
            .filter_map(|at| self.address(at))
            .collect()
    }
}

fn find_vmd(address: PciAddress, vmds: &[Index]) -> Option<Index> {
    let number = address.domain().checked_sub(FIRST_VMD_DOMAIN)?;
    vmds.get(usize::try_from(number).ok()?).copied()
}
