//! The functions in the order in which they are drawn: a bridge before what is below it.

use std::collections::{BTreeMap, BTreeSet};

use vfioctl_core::Snapshot;
use vfioctl_core::config::PcieType;
use vfioctl_core::pci::{PciAddress, PciFunction};

/// Where a function stands in a [`Forest`].
pub(super) type Index = usize;

/// The functions of a machine, in the order of a depth-first walk, root bus by root bus.
#[derive(Debug)]
pub(super) struct Forest<'a> {
    nodes: Vec<Node<'a>>,
    buses: Vec<RootBus>,
}

/// One function.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) function: &'a PciFunction,
    pub(super) parent: Option<Index>,
    pub(super) children: Vec<Index>,
    /// The first function behind it that is not below it.
    pub(super) end: Index,
}

/// A bus without a bridge above it.
#[derive(Debug)]
pub(super) struct RootBus {
    pub(super) domain: u32,
    pub(super) bus: u8,
    pub(super) children: Vec<Index>,
}

impl<'a> Forest<'a> {
    /// Takes what a snapshot says. Every function is there once, also where bridges form a ring:
    /// each ring is opened at its lowest address.
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let functions = &snapshot.functions;
        let mut below: BTreeMap<PciAddress, Vec<&'a PciFunction>> = BTreeMap::new();
        let mut roots = Vec::new();
        for function in functions.values() {
            match function.upstream.filter(|at| functions.contains_key(at)) {
                Some(above) => below.entry(above).or_default().push(function),
                None => roots.push(function),
            }
        }
        roots.extend(find_ring_openers(functions, &roots, &below));
        roots.sort_by_key(|function| function.address);
        let mut this = Self {
            nodes: Vec::with_capacity(functions.len()),
            buses: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for root in roots {
            this.walk(root, &below, &mut seen);
        }
        this.link();
        this
    }

    fn walk(
        &mut self,
        root: &'a PciFunction,
        below: &BTreeMap<PciAddress, Vec<&'a PciFunction>>,
        seen: &mut BTreeSet<PciAddress>,
    ) {
        let mut to_visit = vec![(root, None)];
        while let Some((function, parent)) = to_visit.pop() {
            if !seen.insert(function.address) {
                continue;
            }
            let index = self.nodes.len();
            self.nodes.push(Node {
                function,
                parent,
                children: Vec::new(),
                end: index + 1,
            });
            let children = below.get(&function.address).into_iter().flatten();
            to_visit.extend(children.rev().map(|child| (*child, Some(index))));
        }
    }

    fn link(&mut self) {
        for index in 0..self.nodes.len() {
            let Some((parent, address)) = self
                .nodes
                .get(index)
                .map(|node| (node.parent, node.function.address))
            else {
                continue;
            };
            if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(parent)) {
                parent.children.push(index);
                continue;
            }
            let (domain, bus) = (address.domain(), address.bus());
            match self.buses.last_mut() {
                Some(last) if (last.domain, last.bus) == (domain, bus) => last.children.push(index),
                _ => self.buses.push(RootBus {
                    domain,
                    bus,
                    children: vec![index],
                }),
            }
        }
        // Children come after their parents, so from the back each end is final when it is read.
        for index in (0..self.nodes.len()).rev() {
            let Some((parent, end)) = self.nodes.get(index).map(|node| (node.parent, node.end))
            else {
                continue;
            };
            if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(parent)) {
                parent.end = parent.end.max(end);
            }
        }
    }

    /// The functions, each before what is below it.
    pub(super) fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    /// One function.
    pub(super) fn node(&self, index: Index) -> Option<&Node<'a>> {
        self.nodes.get(index)
    }

    /// The root buses.
    pub(super) fn buses(&self) -> &[RootBus] {
        &self.buses
    }

    /// The functions that hang where a function hangs, in order, itself included.
    pub(super) fn siblings(&self, index: Index) -> &[Index] {
        let Some(node) = self.node(index) else {
            return &[];
        };
        match node.parent.and_then(|parent| self.node(parent)) {
            Some(parent) => &parent.children,
            None => self
                .buses
                .iter()
                .find(|bus| bus.children.binary_search(&index).is_ok())
                .map_or(&[], |bus| &bus.children),
        }
    }
}

impl Node<'_> {
    /// Whether it leads to other functions, as far as can be seen.
    pub(super) fn is_port(&self) -> bool {
        let function = self.function;
        match function.is_bridge().known() {
            Some(is_bridge) => is_bridge,
            None => !self.children.is_empty() || function.class.code() >> 8 == 0x0604,
        }
    }

    /// What kind of port it is, in a word or two.
    pub(super) fn port_kind(&self) -> &'static str {
        match self.function.pcie_type.known() {
            Some(Some(PcieType::RootPort)) => "root port",
            Some(Some(PcieType::UpstreamPort)) => "switch, upstream",
            Some(Some(PcieType::DownstreamPort)) => "switch port",
            Some(Some(PcieType::PcieToPciBridge)) => "PCIe-to-PCI bridge",
            Some(Some(PcieType::PciToPcieBridge)) => "PCI-to-PCIe bridge",
            Some(None) => "PCI bridge",
            _ => "bridge",
        }
    }
}

/// One function of each ring, and of what hangs on it: from these all the rest is reached.
fn find_ring_openers<'a>(
    functions: &'a BTreeMap<PciAddress, PciFunction>,
    roots: &[&'a PciFunction],
    below: &BTreeMap<PciAddress, Vec<&'a PciFunction>>,
) -> Vec<&'a PciFunction> {
    let mut reached = BTreeSet::new();
    let mut reach = |from: PciAddress| {
        let mut to_visit = vec![from];
        let mut is_new = false;
        while let Some(at) = to_visit.pop() {
            if reached.insert(at) {
                is_new = true;
                to_visit.extend(
                    below
                        .get(&at)
                        .into_iter()
                        .flatten()
                        .map(|each| each.address),
                );
            }
        }
        is_new
    };
    for root in roots {
        reach(root.address);
    }
    functions
        .values()
        .filter(|function| reach(function.address))
        .collect()
}
