//! Why a function is in its group, who is to blame, and what would help.

use std::collections::BTreeSet;
use std::fmt;

use crate::Answer;
use crate::acs::{BitNames, Reason};
use crate::config::PcieType;
use crate::pci::PciAddress;

use super::simulation::{Cause, Simulation};
use super::topology::{Index, Node};

/// Ports that are named as other slots: more than a handful is no advice.
const MAX_OTHER_SLOTS: usize = 4;

/// Why one function is in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The function.
    pub address: PciAddress,
    /// Which of the predicted groups it is in.
    pub group: usize,
    /// What put it there.
    pub decision: Decision,
    /// The bridges above that do not isolate, nearest first. The last one decides; all of them
    /// must isolate before the function can have a group of its own.
    pub blockers: Vec<Blocker>,
    /// What would help, in the order to try; empty where the function shares its group with nobody
    /// but the functions of its own slot, and bridges.
    pub remedies: Vec<Remedy>,
}

/// A bridge that does not isolate, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocker {
    /// The bridge.
    pub address: PciAddress,
    /// Why it does not isolate.
    pub because: Reason,
}

/// What put a function into its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it has the group for itself.
    Alone,
    /// It opened the group, and others joined it, since it does not isolate.
    Opened(Reason),
    /// This bridge above it does not isolate.
    Bridge(PciAddress, Reason),
    /// Requests arrive under the number of this bridge.
    Alias(PciAddress),
    /// Neither it nor this function of its slot isolates.
    Sibling(PciAddress, Reason),
    /// It and this function of its bus send under each other's numbers.
    DmaAlias(PciAddress),
    /// This device does DMA in its stead.
    DmaDevice(PciAddress),
    /// What decides could not be seen.
    Hidden,
    /// No IOMMU covers it.
    NotCovered,
}

/// What would give a function a group of its own, or a way to live without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Move the card below one of these empty ports, whose whole path isolates.
    OtherSlot(Vec<PciAddress>),
    /// Set these bits, then remove and rescan.
    SetBits(Vec<(PciAddress, u16)>),
    /// Pass everything in the group that is not a bridge: so many devices.
    WholeGroup(usize),
    /// `pcie_acs_override=` with these words, on a kernel that honours it. It changes the belief,
    /// not the hardware.
    KernelParameter(&'static str),
    /// Nothing else helps: a bridge on the way can never isolate.
    Nothing(PciAddress),
}

/// Explains every function of a machine that was booted.
pub(super) fn explain(
    simulation: &Simulation<'_>,
    groups: &[Vec<PciAddress>],
    uncertain: &BTreeSet<PciAddress>,
) -> Vec<Explanation> {
    let topology = simulation.topology();
    let mut group_of = vec![None; topology.len()];
    for (number, members) in groups.iter().enumerate() {
        for index in members
            .iter()
            .filter_map(|address| topology.index(*address))
        {
            if let Some(slot) = group_of.get_mut(index) {
                *slot = Some(number);
            }
        }
    }
    let given: Vec<usize> = groups
        .iter()
        .map(|members| count_devices(simulation, members))
        .collect();
    let other_slots = find_other_slots(simulation);
    let mut explanations = Vec::with_capacity(topology.len());
    for (index, node) in topology.nodes().iter().enumerate() {
        let group = group_of.get(index).copied().flatten();
        let blockers = find_blockers(simulation, index);
        let members = group
            .and_then(|group| groups.get(group))
            .map_or(0, Vec::len);
        let decision = if group.is_none() {
            Decision::NotCovered
        } else if uncertain.contains(&node.address) {
            Decision::Hidden
        } else {
            decide(simulation, index, members, &blockers)
        };
        let devices = group.and_then(|group| given.get(group)).copied();
        let is_device = !node.is_bridge && !node.class.is_platform();
        let remedies = match devices {
            Some(devices) if devices > 1 && is_device => {
                find_remedies(simulation, &blockers, &other_slots, devices, decision)
            }
            _ => Vec::new(),
        };
        explanations.push(Explanation {
            address: node.address,
            group: group.unwrap_or_default(),
            decision,
            blockers,
            remedies,
        });
    }
    explanations
}

/// How many slots have a function in the group that could be given away.
fn count_devices(simulation: &Simulation<'_>, members: &[PciAddress]) -> usize {
    let topology = simulation.topology();
    let mut slots: Vec<PciAddress> = members
        .iter()
        .filter_map(|address| topology.node(topology.index(*address)?))
        .filter(|node| !node.is_bridge && !node.class.is_platform())
        .map(|node| node.address.first_of_slot())
        .collect();
    slots.dedup();
    slots.len()
}

fn find_blockers(simulation: &Simulation<'_>, index: Index) -> Vec<Blocker> {
    simulation
        .topology()
        .path(index)
        .filter_map(|bridge| {
            let isolation = simulation.judge(bridge);
            (isolation.isolates != Answer::Known(true)).then_some(Blocker {
                address: simulation.topology().address(bridge)?,
                because: isolation.because,
            })
        })
        .collect()
}

fn decide(
    simulation: &Simulation<'_>,
    index: Index,
    members: usize,
    blockers: &[Blocker],
) -> Decision {
    let address = |index| simulation.topology().address(index);
    let own = simulation.judge(index).because;
    match (simulation.cause(index), blockers.last()) {
        (Some(Cause::DmaDevice(device)), _) => {
            address(device).map_or(Decision::Alone, Decision::DmaDevice)
        }
        (_, Some(top)) => Decision::Bridge(top.address, top.because),
        (Some(Cause::Alias(bridge)), None) => {
            address(bridge).map_or(Decision::Alone, Decision::Alias)
        }
        (Some(Cause::Neighbour(partner)), None) => match (address(index), address(partner)) {
            (Some(own_address), Some(partner)) if own_address.is_same_slot(partner) => {
                Decision::Sibling(partner, own)
            }
            (_, Some(partner)) => Decision::DmaAlias(partner),
            _ => Decision::Alone,
        },
        (Some(Cause::Own), None) if members > 1 => Decision::Opened(own),
        _ => Decision::Alone,
    }
}

/// Ports with nothing below them whose whole path isolates, each alone in its group.
fn find_other_slots(simulation: &Simulation<'_>) -> Vec<PciAddress> {
    let topology = simulation.topology();
    let is_free_port = |(index, node): &(Index, &Node)| {
        let is_port = matches!(
            node.pcie_type,
            Answer::Known(Some(PcieType::RootPort | PcieType::DownstreamPort))
        );
        is_port
            && topology.children(*index).is_empty()
            && simulation.judge(*index).isolates == Answer::Known(true)
            && find_blockers(simulation, *index).is_empty()
    };
    topology
        .nodes()
        .iter()
        .enumerate()
        .filter(is_free_port)
        .map(|(_, node)| node.address)
        .take(MAX_OTHER_SLOTS)
        .collect()
}

fn find_remedies(
    simulation: &Simulation<'_>,
    blockers: &[Blocker],
    other_slots: &[PciAddress],
    devices: usize,
    decision: Decision,
) -> Vec<Remedy> {
    let topology = simulation.topology();
    let mut remedies = Vec::new();
    let can_move = !matches!(decision, Decision::DmaDevice(_) | Decision::DmaAlias(_));
    if !other_slots.is_empty() && can_move {
        remedies.push(Remedy::OtherSlot(other_slots.to_vec()));
    }
    let bits: Vec<(PciAddress, u16)> = blockers
        .iter()
        .filter_map(|blocker| {
            let index = topology.index(blocker.address)?;
            Some((blocker.address, simulation.bits_that_would_isolate(index)?))
        })
        .collect();
    let is_settable = !blockers.is_empty() && bits.len() == blockers.len();
    if is_settable {
        remedies.push(Remedy::SetBits(bits.clone()));
    }
    remedies.push(Remedy::WholeGroup(devices));
    let kinds: Vec<Option<&str>> = blockers
        .iter()
        .filter(|blocker| !bits.iter().any(|(address, _)| *address == blocker.address))
        .map(|blocker| {
            let pcie_type = topology.node(topology.index(blocker.address)?)?.pcie_type;
            match (blocker.because, pcie_type.known().flatten()?) {
                (Reason::NoCapability, PcieType::RootPort | PcieType::DownstreamPort) => {
                    Some("downstream")
                }
                (Reason::NoCapability, PcieType::UpstreamPort) => Some("multifunction"),
                _ => None,
            }
        })
        .collect();
    if !kinds.is_empty() && kinds.iter().all(Option::is_some) {
        let has = |word| kinds.contains(&Some(word));
        remedies.push(Remedy::KernelParameter(
            match (has("downstream"), has("multifunction")) {
                (true, true) => "downstream,multifunction",
                (false, true) => "multifunction",
                _ => "downstream",
            },
        ));
    }
    let never = blockers.iter().rev().find(|blocker| {
        matches!(
            blocker.because,
            Reason::Conventional | Reason::BridgeType(_)
        )
    });
    if let Some(never) = never {
        remedies.push(Remedy::Nothing(never.address));
    }
    remedies
}

impl Decision {
    /// A short name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Opened(_) => "opened",
            Self::Bridge(..) => "bridge",
            Self::Alias(_) => "alias",
            Self::Sibling(..) => "sibling",
            Self::DmaAlias(_) => "dma_alias",
            Self::DmaDevice(_) => "dma_device",
            Self::Hidden => "hidden",
            Self::NotCovered => "not_covered",
        }
    }

    /// The function that is to blame.
    pub fn decided_by(self) -> Option<PciAddress> {
        match self {
            Self::Bridge(address, _)
            | Self::Alias(address)
            | Self::Sibling(address, _)
            | Self::DmaAlias(address)
            | Self::DmaDevice(address) => Some(address),
            Self::Alone | Self::Opened(_) | Self::Hidden | Self::NotCovered => None,
        }
    }

    /// Why that function, or this one, does not isolate.
    pub fn because(self) -> Option<Reason> {
        match self {
            Self::Opened(reason) | Self::Bridge(_, reason) | Self::Sibling(_, reason) => {
                Some(reason)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => f.write_str("nothing joins it with another device"),
            Self::Opened(reason) => write!(f, "others join it: {reason}"),
            Self::Bridge(address, reason) => {
                write!(
                    f,
                    "the bridge {address} above it does not isolate: {reason}"
                )
            }
            Self::Alias(address) => {
                write!(
                    f,
                    "its requests arrive under the number of the bridge {address}"
                )
            }
            Self::Sibling(address, reason) => {
                write!(
                    f,
                    "it and {address}, of the same device, do not isolate: {reason}"
                )
            }
            Self::DmaAlias(address) => {
                write!(
                    f,
                    "it and {address} send requests under each other's numbers"
                )
            }
            Self::DmaDevice(address) => write!(f, "{address} does DMA in its stead"),
            Self::Hidden => f.write_str("what decides could not be seen"),
            Self::NotCovered => f.write_str("no IOMMU covers it"),
        }
    }
}

impl Remedy {
    /// A short name for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::OtherSlot(_) => "other_slot",
            Self::SetBits(_) => "set_bits",
            Self::WholeGroup(_) => "whole_group",
            Self::KernelParameter(_) => "kernel_parameter",
            Self::Nothing(_) => "nothing",
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSlot(ports) => {
                f.write_str("move the card to a slot below ")?;
                write_list(f, ports, " or ")?;
                f.write_str(": these ports isolate and are empty")
            }
            Self::SetBits(ports) => {
                f.write_str("run 'vfioctl acs override': it sets ")?;
                let mut separator = "";
                for (address, bits) in ports {
                    write!(f, "{separator}{} on {address}", BitNames(*bits))?;
                    separator = ", ";
                }
                f.write_str(" and lets the kernel group anew")
            }
            Self::WholeGroup(devices) => {
                write!(f, "give all {devices} devices of the group to one machine")
            }
            Self::KernelParameter(words) => write!(
                f,
                "boot a kernel that honours 'pcie_acs_override={words}': it asserts a separation \
                 that the hardware does not make"
            ),
            Self::Nothing(address) => write!(
                f,
                "nothing separates what is behind {address}: such a bridge never isolates"
            ),
        }
    }
}

fn write_list(
    f: &mut fmt::Formatter<'_>,
    addresses: &[PciAddress],
    separator: &str,
) -> fmt::Result {
    let mut between = "";
    for address in addresses {
        write!(f, "{between}{address}")?;
        between = separator;
    }
    Ok(())
}
