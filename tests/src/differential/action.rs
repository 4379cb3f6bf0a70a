//! What is done to a machine: registers written, functions removed and found again.

use std::collections::BTreeSet;
use std::fmt;

use vfioctl_core::pci::{PciAddress, PciFunction, SriovRole};
use vfioctl_core::{Answer, Snapshot};

use super::picture::Picture;
use super::random::Random;

/// One request to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A port's ACS control register is written.
    SetAcs {
        /// The port.
        at: PciAddress,
        /// Where in its config space.
        offset: usize,
        /// What.
        control: u16,
    },
    /// A function goes, with what is below it.
    Remove(PciAddress),
    /// The bus below a bridge is searched; `None`: all are.
    Rescan(Option<PciAddress>),
    /// A physical function makes so many virtual ones.
    VirtualFunctions {
        /// The physical function.
        physical: PciAddress,
        /// How many it has then.
        count: usize,
    },
}

impl fmt::Display for Step {
    /// As the machine takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAcs {
                at,
                offset,
                control,
            } => write!(f, "write {at} {offset:x} {control:x}"),
            Self::Remove(at) => write!(f, "remove {at}"),
            Self::Rescan(None) => f.write_str("rescan -"),
            Self::Rescan(Some(bridge)) => write!(f, "rescan {bridge}"),
            Self::VirtualFunctions { physical, count } => write!(f, "numvfs {physical} {count}"),
        }
    }
}

/// An action at random, in steps. `absent` are the functions that were removed before.
pub(super) fn choose_action(
    random: &mut Random,
    now: &Picture,
    absent: &BTreeSet<PciAddress>,
) -> Vec<Step> {
    let mut choice = Choice {
        now,
        steps: Vec::new(),
        written: Vec::new(),
        gone: BTreeSet::new(),
    };
    if let Some(steps) = choose_virtual_functions(random, &now.snapshot) {
        return steps;
    }
    choice.write_registers(random);
    if !choice.written.is_empty() && random.percent(12) {
        return choice.steps;
    }
    if !absent.is_empty() && random.percent(40) {
        choice.steps.push(Step::Rescan(None));
    }
    for _ in 0..random.pick(&[1, 1, 2]).unwrap_or(1) {
        choice.remove_something(random);
    }
    let bridges: BTreeSet<Option<PciAddress>> = choice
        .gone
        .iter()
        .filter_map(|at| now.snapshot.function(*at))
        .map(|function| function.upstream)
        .filter(|above| above.is_none_or(|above| !choice.gone.contains(&above)))
        .collect();
    if random.percent(20) {
        // Found again only by a later action.
    } else if random.percent(25) {
        choice.steps.push(Step::Rescan(None));
    } else {
        // The narrowest; on a root bus that is everything.
        choice.steps.extend(bridges.into_iter().map(Step::Rescan));
    }
    if choice.steps.is_empty() {
        choice.steps.push(Step::Rescan(None));
    }
    choice.steps
}

struct Choice<'a> {
    now: &'a Picture,
    steps: Vec<Step>,
    written: Vec<PciAddress>,
    gone: BTreeSet<PciAddress>,
}

impl Choice<'_> {
    fn write_registers(&mut self, random: &mut Random) {
        let ports: Vec<(PciAddress, usize)> = self
            .now
            .acs_control_at
            .iter()
            .map(|(at, offset)| (*at, *offset))
            .collect();
        for _ in 0..random.pick(&[0, 1, 1, 2, 3]).unwrap_or(1) {
            let Some((at, offset)) = random.pick(&ports) else {
                return;
            };
            let Some(Answer::Known(Some(acs))) = self.now.snapshot.function(at).map(|it| it.acs)
            else {
                continue;
            };
            let word = random.word();
            let value = random.pick(&[0, 0, 0x1d, 0xffff, word, word]).unwrap_or(0);
            let control = value & acs.capability();
            self.written.push(at);
            self.steps.push(Step::SetAcs {
                at,
                offset,
                control,
            });
        }
    }

    /// One function, all of a slot, or a bridge above it with everything below.
    fn remove_something(&mut self, random: &mut Random) {
        let snapshot = &self.now.snapshot;
        let all: Vec<&PciFunction> = snapshot
            .functions
            .values()
            .filter(|function| is_removable(function) && !self.is_gone(function.address))
            .collect();
        let is_below_written = |function: &&&PciFunction| {
            path(snapshot, function.address).any(|above| self.written.contains(&above))
        };
        let below: Vec<&PciFunction> = all.iter().filter(is_below_written).copied().collect();
        let from = if !below.is_empty() && random.percent(65) {
            &below
        } else {
            &all
        };
        let Some(target) = random.pick(from) else {
            return;
        };
        let mut targets = vec![target.address];
        match random.below(3) {
            0 => {}
            1 => {
                targets = all
                    .iter()
                    .map(|function| function.address)
                    .filter(|at| at.is_same_slot(target.address))
                    .collect();
                if random.percent(50) {
                    targets.reverse();
                }
            }
            _ => {
                let above: Vec<PciAddress> = path(snapshot, target.address).collect();
                targets = random.pick(&above).into_iter().collect();
            }
        }
        for at in targets {
            self.end_virtual_functions_below(at);
            self.steps.push(Step::Remove(at));
            self.gone.insert(at);
        }
    }

    /// Drivers of physical functions end the virtual ones when they are unbound, before a removal.
    /// The machine's stub does not, and they would stay without a physical function.
    fn end_virtual_functions_below(&mut self, at: PciAddress) {
        let snapshot = &self.now.snapshot;
        let physical: BTreeSet<PciAddress> = snapshot
            .functions
            .values()
            .filter_map(|function| match function.sriov {
                SriovRole::Virtual { physical } => Some(physical),
                _ => None,
            })
            .filter(|physical| path(snapshot, *physical).any(|above| above == at))
            .filter(|physical| !self.is_gone(*physical))
            .collect();
        let end = |physical| Step::VirtualFunctions { physical, count: 0 };
        self.steps.extend(physical.into_iter().map(end));
    }

    fn is_gone(&self, at: PciAddress) -> bool {
        path(&self.now.snapshot, at).any(|above| self.gone.contains(&above))
    }
}

/// A function and the bridges above it.
fn path(snapshot: &Snapshot, at: PciAddress) -> impl Iterator<Item = PciAddress> {
    std::iter::successors(Some(at), |at| snapshot.function(*at)?.upstream)
}

/// Not the chipset, and not the IOMMU itself.
fn is_removable(function: &PciFunction) -> bool {
    let is_iommu = (function.class.base(), function.class.subclass()) == (0x08, 0x06);
    let is_isa_bridge = (function.class.base(), function.class.subclass()) == (0x06, 0x01);
    let is_memory_controller = function.upstream.is_none()
        && function.address.device() == 0
        && function.address.bus() == 0;
    let is_virtual = matches!(function.sriov, SriovRole::Virtual { .. });
    !(is_iommu || is_isa_bridge || is_memory_controller || is_virtual)
}

/// Sometimes, where there is a physical function: makes its virtual ones, or ends them.
fn choose_virtual_functions(random: &mut Random, snapshot: &Snapshot) -> Option<Vec<Step>> {
    // QEMU's NVMe controller is the only one that can.
    let physical: Vec<PciAddress> = snapshot
        .functions
        .values()
        .filter(|it| (it.identity.vendor, it.identity.device) == (0x1b36, 0x0010))
        .filter(|it| it.sriov == SriovRole::None)
        .map(|it| it.address)
        .collect();
    let physical = random.pick(&physical)?;
    let has_some = snapshot
        .functions
        .values()
        .any(|it| it.sriov == SriovRole::Virtual { physical });
    if !random.percent(if has_some { 15 } else { 40 }) {
        return None;
    }
    let count = if has_some { 0 } else { random.between(1, 4) };
    Some(vec![Step::VirtualFunctions { physical, count }])
}
