//! Whether what the kernel calls separate is: its groups beside what the registers say.
//!
//! Groups are chosen when a function is added and never again, so they can tell of registers that
//! have changed since; `pcie_acs_override=` makes the kernel believe what no register says; and
//! behind a switch whose ports lack ACS the kernel makes a group for each port, though the switch
//! may route from one to the other.

use std::collections::BTreeSet;
use std::fmt;

use crate::acs::{Acs, AcsOverride, AcsParameters, Isolation, Platform};
use crate::config::PcieType;
use crate::pci::{Identity, PciAddress};
use crate::{Answer, Snapshot};

use super::partition::Partition;
use super::prediction::predict_groups;
use super::simulation::{Hidden, Simulation};
use super::topology::{Index, Topology};

/// One machine, seen three ways: as the kernel has grouped it, as its registers are, and as they
/// could be.
#[derive(Debug, Clone)]
pub struct Separation {
    topology: Topology,
    platform: Platform,
    /// The groups that the kernel has.
    kernel: Partition,
    /// The groups that the registers would make now, with what is asserted.
    registers: Partition,
    /// The same, with nothing asserted.
    hardware: Partition,
    /// The groups that the registers would make if every bit that is offered were on.
    possible: Partition,
    isolations: Vec<Isolation>,
    sees_everything: bool,
}

/// How much a device's separation from other devices is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The kernel separates it from every other device, and the hardware does too.
    Isolated,
    /// The kernel has it in one group with other devices.
    Shared,
    /// The kernel separates it only because it was told to believe so.
    Asserted,
    /// The kernel separates it from devices behind other ports of a switch; the switch may not.
    OpenSwitch,
    /// The kernel separated it once; ACS bits have been cleared since.
    Stale,
    /// The kernel separates it, and nothing that can be seen says why: its quirk table may be
    /// newer, or devices were removed and rescanned one by one.
    Unexplained,
    /// No IOMMU covers it.
    NotCovered,
    /// Registers that decide could not be seen.
    CannotSee,
}

/// One bridge above a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The bridge.
    pub address: PciAddress,
    /// What it is.
    pub identity: Identity,
    /// Device/port type; `None` for conventional PCI.
    pub pcie_type: Answer<Option<PcieType>>,
    /// Its registers.
    pub acs: Answer<Option<Acs>>,
    /// Whether it isolates, and why.
    pub isolation: Isolation,
}

/// What there is to say about one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The device: the function that was asked about.
    pub address: PciAddress,
    /// The bridges above it, nearest first.
    pub hops: Vec<Hop>,
    /// Functions of other devices that the kernel has in its group.
    pub kernel_partners: Vec<PciAddress>,
    /// Functions of other devices that the registers would put there.
    pub register_partners: Vec<PciAddress>,
    /// Functions of other devices that it may reach through a switch whose ports lack ACS, though
    /// kernel and registers separate them.
    pub switch_partners: Vec<PciAddress>,
    /// What it comes to.
    pub verdict: Verdict,
}

/// Functions whose groups differ between the kernel and the registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How.
    pub kind: DifferenceKind,
    /// How the kernel has them.
    pub kernel: Vec<Vec<PciAddress>>,
    /// How the registers would have them.
    pub registers: Vec<Vec<PciAddress>>,
    /// Bridges among or above them with ACS bits off.
    pub bits_off: Vec<PciAddress>,
}

/// How the kernel's groups differ from the registers'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The kernel separates what the registers join: the separation is not real.
    Finer,
    /// The kernel joins what the registers separate: it grouped before they were set.
    Coarser,
    /// Both.
    Other,
}

/// A switch that the kernel takes for separating, and that may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSwitch {
    /// Its upstream port.
    pub upstream_port: PciAddress,
    /// Its downstream ports that do not isolate.
    pub ports: Vec<PciAddress>,
}

impl Separation {
    /// Looks at a machine.
    pub fn of(snapshot: &Snapshot, platform: &Platform) -> Self {
        Self::of_topology(Topology::of(snapshot), platform)
    }

    /// The same machine with the registers that a boot with its IOMMU on leaves: for a machine
    /// that has no groups yet.
    #[must_use]
    pub fn at_boot(&self) -> Self {
        let topology = self.topology.at_boot(&self.platform.acs_parameters);
        Self::of_topology(topology, &self.platform)
    }

    fn of_topology(topology: Topology, platform: &Platform) -> Self {
        let simulation = Simulation::boot(&topology, platform, Hidden::Joins);
        let registers = Partition::new(simulation.groups());
        let isolations = (0..topology.len())
            .map(|index| simulation.judge(index))
            .collect();
        let sees_everything = simulation.sees_everything();
        let hardware = if platform.acs_override.is_empty() {
            registers.clone()
        } else {
            let bare = Platform {
                acs_override: AcsOverride::default(),
                ..platform.clone()
            };
            Partition::new(predict_groups(&topology, &bare))
        };
        let full = topology.at_boot(&AcsParameters::default());
        let possible = Partition::new(predict_groups(&full, platform));
        let kernel = Partition::new(Simulation::of_kernel(&topology, platform).groups());
        Self {
            platform: platform.clone(),
            kernel,
            registers,
            hardware,
            possible,
            isolations,
            sees_everything,
            topology,
        }
    }

    /// The groups that the kernel has.
    pub fn kernel(&self) -> &Partition {
        &self.kernel
    }

    /// The groups that the registers would make now.
    pub fn registers(&self) -> &Partition {
        &self.registers
    }

    /// The machine's topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What the kernel knows beside the functions.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Whether nothing that decides is hidden.
    pub fn sees_everything(&self) -> bool {
        self.sees_everything
    }

    /// Whether the kernel groups at all.
    pub fn has_kernel_groups(&self) -> bool {
        !self.kernel.groups().is_empty()
    }

    /// Whether a function isolates, and why; `None` where there is no such function.
    pub fn isolation(&self, address: PciAddress) -> Option<Isolation> {
        self.isolations.get(self.topology.index(address)?).copied()
    }

    /// Everything about one device; `None` where there is no such function.
    pub fn audit(&self, address: PciAddress) -> Option<Audit> {
        let index = self.topology.index(address)?;
        let node = self.topology.node(index)?;
        let kernel_partners = self.partners(&self.kernel, index);
        let register_partners = self.partners(&self.registers, index);
        let switch_partners = self.switch_partners(index);
        let verdict = if node.kernel_group.is_none() {
            Verdict::NotCovered
        } else if !kernel_partners.is_empty() {
            Verdict::Shared
        } else if !self.sees_path(index) {
            Verdict::CannotSee
        } else if !register_partners.is_empty() {
            let possible = self.partners(&self.possible, index);
            if register_partners.iter().any(|at| !possible.contains(at)) {
                Verdict::Stale
            } else {
                Verdict::Unexplained
            }
        } else if !self.partners(&self.hardware, index).is_empty() {
            Verdict::Asserted
        } else if !switch_partners.is_empty() {
            Verdict::OpenSwitch
        } else {
            Verdict::Isolated
        };
        Some(Audit {
            address,
            hops: self
                .topology
                .path(index)
                .filter_map(|at| self.hop(at))
                .collect(),
            kernel_partners,
            register_partners,
            switch_partners,
            verdict,
        })
    }

    /// Functions of other devices that a device is separated from by the kernel alone, because ACS
    /// bits are off that could be on.
    ///
    /// While there are any, giving the two to different owners would let one reach the other.
    pub fn reduced_partners(&self, address: PciAddress) -> Vec<PciAddress> {
        let Some(index) = self.topology.index(address) else {
            return Vec::new();
        };
        let possible = self.partners(&self.possible, index);
        let kernel = self.partners(&self.kernel, index);
        let mut partners = self.partners(&self.registers, index);
        partners.retain(|at| !possible.contains(at) && !kernel.contains(at));
        partners
    }

    /// Where the kernel's groups are not what the registers would make.
    pub fn differences(&self) -> Vec<Difference> {
        let mut is_seen: BTreeSet<PciAddress> = BTreeSet::new();
        let mut differences = Vec::new();
        for first in self.kernel.groups().iter().flatten().copied() {
            if is_seen.contains(&first) {
                continue;
            }
            // Everything that hangs together in either view.
            let mut whole = BTreeSet::from([first]);
            let mut to_visit = vec![first];
            while let Some(at) = to_visit.pop() {
                let both = self
                    .kernel
                    .members(at)
                    .iter()
                    .chain(self.registers.members(at));
                for member in both {
                    if whole.insert(*member) {
                        to_visit.push(*member);
                    }
                }
            }
            is_seen.extend(&whole);
            let kernel = self.kernel.restricted_to(&whole);
            let registers = self.registers.restricted_to(&whole);
            if kernel == registers {
                continue;
            }
            let kind = match (kernel.refines(&registers), registers.refines(&kernel)) {
                (true, _) => DifferenceKind::Finer,
                (_, true) => DifferenceKind::Coarser,
                _ => DifferenceKind::Other,
            };
            differences.push(Difference {
                kind,
                bits_off: self.bits_off(&whole),
                kernel: kernel.groups().to_vec(),
                registers: registers.groups().to_vec(),
            });
        }
        differences
    }

    /// Switches that the kernel takes for separating.
    pub fn open_switches(&self) -> Vec<OpenSwitch> {
        let nodes = self.topology.nodes().iter().enumerate();
        nodes
            .filter(|(_, node)| node.pcie_type == Answer::Known(Some(PcieType::UpstreamPort)))
            .filter_map(|(index, node)| {
                let ports = self.topology.children(index);
                let separates = ports.iter().any(|port| {
                    let below = self.topology.subtree(*port);
                    below.iter().any(|at| !self.switch_partners(*at).is_empty())
                });
                let open: Vec<PciAddress> = ports
                    .iter()
                    .filter(|port| self.isolates(**port) == Answer::Known(false))
                    .filter_map(|port| self.topology.address(*port))
                    .collect();
                (separates && !open.is_empty()).then_some(OpenSwitch {
                    upstream_port: node.address,
                    ports: open,
                })
            })
            .collect()
    }

    fn hop(&self, index: Index) -> Option<Hop> {
        let node = self.topology.node(index)?;
        Some(Hop {
            address: node.address,
            identity: node.identity,
            pcie_type: node.pcie_type,
            acs: node.acs,
            isolation: *self.isolations.get(index)?,
        })
    }

    fn isolates(&self, index: Index) -> Answer<bool> {
        self.isolations
            .get(index)
            .map_or(Answer::CannotSee, |isolation| isolation.isolates)
    }

    fn sees_path(&self, index: Index) -> bool {
        std::iter::once(index)
            .chain(self.topology.path(index))
            .all(|at| self.isolates(at) != Answer::CannotSee)
    }

    /// Members of a function's group that belong to other devices: neither to its own slot nor
    /// bridges and the machine's own plumbing, which stay with the host.
    fn partners(&self, partition: &Partition, index: Index) -> Vec<PciAddress> {
        self.topology
            .address(index)
            .map(|own| self.partners_in(partition, own))
            .unwrap_or_default()
    }

    /// The same for any groups.
    pub(crate) fn partners_in(&self, partition: &Partition, own: PciAddress) -> Vec<PciAddress> {
        let is_partner = |at: &&PciAddress| {
            let node = self
                .topology
                .index(**at)
                .and_then(|at| self.topology.node(at));
            !at.is_same_slot(own)
                && node.is_some_and(|node| !node.is_bridge && !node.class.is_platform())
        };
        partition
            .members(own)
            .iter()
            .filter(is_partner)
            .copied()
            .collect()
    }

    /// Devices behind other ports of a switch, where one of the two ports on the way does not
    /// isolate and the kernel separates them even so.
    fn switch_partners(&self, index: Index) -> Vec<PciAddress> {
        let Some(own) = self.topology.address(index) else {
            return Vec::new();
        };
        let mut partners = Vec::new();
        let mut below = index;
        for above in self.topology.path(index) {
            let is_switch = self
                .topology
                .node(above)
                .is_some_and(|node| node.pcie_type == Answer::Known(Some(PcieType::UpstreamPort)));
            if is_switch {
                let others = self.topology.children(above).iter();
                for other in others.filter(|port| **port != below) {
                    let is_open = [below, *other]
                        .iter()
                        .any(|port| self.isolates(*port) == Answer::Known(false));
                    if is_open {
                        partners.extend(self.separated_below(own, *other));
                    }
                }
            }
            below = above;
        }
        partners.sort_unstable();
        partners.dedup();
        partners
    }

    fn separated_below(&self, own: PciAddress, port: Index) -> impl Iterator<Item = PciAddress> {
        let below = self.topology.subtree(port).into_iter();
        below
            .filter_map(|at| self.topology.node(at))
            .filter(|node| !node.is_bridge)
            .map(|node| node.address)
            .filter(move |at| !self.kernel.joins(own, *at))
    }

    fn bits_off(&self, whole: &BTreeSet<PciAddress>) -> Vec<PciAddress> {
        let mut ports: Vec<PciAddress> = whole
            .iter()
            .filter_map(|at| self.topology.index(*at))
            .flat_map(|index| std::iter::once(index).chain(self.topology.path(index)))
            .filter(|index| {
                self.isolations
                    .get(*index)
                    .is_some_and(|isolation| isolation.because.missing_bits() != 0)
            })
            .filter_map(|index| self.topology.address(index))
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

impl Partition {
    fn restricted_to(&self, whole: &BTreeSet<PciAddress>) -> Self {
        // Only the groups that matter are looked at: the machine may be large.
        let mut groups: Vec<Vec<PciAddress>> = Vec::new();
        let mut left = whole.clone();
        while let Some(first) = left.pop_first() {
            let members: Vec<PciAddress> = self.members(first).to_vec();
            for member in &members {
                left.remove(member);
            }
            groups.push(members);
        }
        Self::new(groups)
    }
}

impl Verdict {
    /// A short name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Shared => "shared",
            Self::Asserted => "asserted",
            Self::OpenSwitch => "open_switch",
            Self::Stale => "stale",
            Self::Unexplained => "unexplained",
            Self::NotCovered => "not_covered",
            Self::CannotSee => "cannot_see",
        }
    }

    /// Whether the kernel's groups promise more than the hardware keeps.
    pub fn is_a_lie(self) -> bool {
        matches!(
            self,
            Self::Asserted | Self::OpenSwitch | Self::Stale | Self::Unexplained
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Isolated => "isolated",
            Self::Shared => "shared",
            Self::Asserted => "separated by assertion",
            Self::OpenSwitch => "separated by the kernel, perhaps not by the switch",
            Self::Stale => "stale: ACS bits were cleared after it was grouped",
            Self::Unexplained => "separated by the kernel, not by the registers",
            Self::NotCovered => "not covered by an IOMMU",
            Self::CannotSee => "cannot see",
        })
    }
}
