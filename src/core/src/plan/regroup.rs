//! How ACS is changed, and devices are grouped anew.
//!
//! A group is chosen when a function is added, so a change of ACS shows only after the functions
//! below have been removed and found again; all functions of a slot together, since one that comes
//! back alone rejoins its sibling's old group. What will be is known before: the kernel's own
//! algorithm is run on the machine as it is ([`Simulation`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::Snapshot;
use crate::acs::{AcsChange, Reason};
use crate::claim::{Claim, Original, Owner};
use crate::iommu::{Partition, Separation, Simulation, Verdict};
use crate::pci::{GroupId, Identity, PciAddress, PciFunction};

use super::bind::{Taking, refuse_member};
use super::regroup_steps::steps;
use super::{PowerControl, Refusal, Step};

/// A port as it was before anything was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOriginal {
    /// Where it sits.
    pub address: PciAddress,
    /// What it was.
    pub identity: Identity,
    /// Its ACS control register.
    pub control: u16,
    /// Whether it could sleep; `None` where the kernel has no such file for it.
    pub power: Option<PowerControl>,
}

/// What a port's control register shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortChange {
    /// The port, as it is.
    pub original: PortOriginal,
    /// What control shall hold.
    pub control: u16,
    /// Whether it may sleep afterwards.
    pub power: Option<PowerControl>,
}

/// Functions of one slot that are removed together, and the bridge below which they are found
/// again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cycle {
    /// The bridge.
    pub bridge: PciAddress,
    /// The functions, in the order of addresses.
    pub functions: Vec<PciAddress>,
}

/// What changing ACS and grouping anew would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegroupPlan {
    /// The ports that change.
    pub ports: Vec<PortChange>,
    /// What is removed and found again.
    pub cycles: Vec<Cycle>,
    /// Every function that is removed, as it is now, in the order of addresses.
    pub originals: Vec<Original>,
    /// The kernel's groups that are concerned, as they are.
    pub before: Partition,
    /// The same functions, as they will be grouped.
    pub after: Partition,
    /// Numbers of the groups that are concerned.
    pub group_ids: Vec<GroupId>,
    /// The steps, in order; empty where everything is as it shall be.
    pub steps: Vec<Step>,
}

/// A plan that isolates devices, and what of it cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverridePlan {
    /// The plan.
    pub regroup: RegroupPlan,
    /// Devices that are isolated already, as far as they can be.
    pub already: Vec<(PciAddress, Verdict)>,
    /// Devices that the plan leaves as they are, and why; only where no device was named.
    pub impossible: Vec<(PciAddress, Refusal)>,
}

/// The machine, and what else a plan looks at.
#[derive(Debug, Clone, Copy)]
pub struct Regrouping<'a> {
    /// The machine as it is.
    pub snapshot: &'a Snapshot,
    /// Its groups, three ways.
    pub separation: &'a Separation,
    /// All claims.
    pub claims: &'a [Claim],
    /// Whether ports may sleep, where that is known.
    pub power: &'a BTreeMap<PciAddress, PowerControl>,
}

impl Regrouping<'_> {
    /// Plans to isolate devices from every other device, the functions of their own slots
    /// excepted. Without names: every GPU, as far as it goes.
    ///
    /// # Errors
    /// Where a named device cannot be isolated, or none of all can, the reason.
    pub fn plan_override(&self, targets: &[PciAddress]) -> Result<OverridePlan, Refusal> {
        let is_named = !targets.is_empty();
        let targets = if is_named {
            targets.to_vec()
        } else {
            self.snapshot.gpus()
        };
        let mut controls = BTreeMap::new();
        let mut cycles = BTreeSet::new();
        let mut already = Vec::new();
        let mut impossible = Vec::new();
        for target in targets {
            match self.plan_one(target) {
                Ok(One::Already(verdict)) => already.push((target, verdict)),
                Ok(One::Change(changes, cycle)) => {
                    controls.extend(changes);
                    cycles.extend(cycle);
                }
                Err(refusal) if is_named => return Err(refusal),
                Err(refusal) => impossible.push((target, refusal)),
            }
        }
        let nothing_done = controls.is_empty() && cycles.is_empty() && already.is_empty();
        if let (true, Some((_, refusal))) = (nothing_done, impossible.first()) {
            return Err(refusal.clone());
        }
        // Who goes with a subtree needs no cycle of its own.
        let cycles = self.without_nested(cycles);
        Ok(OverridePlan {
            regroup: self.plan(&controls, cycles, Some(PowerControl::On))?,
            already,
            impossible,
        })
    }

    /// Plans to change bits of one function; with `regroup`, what is below it is grouped anew.
    ///
    /// # Errors
    /// Where the function has no such bits, or clearing them would join what different owners
    /// have.
    pub fn plan_set(
        &self,
        address: PciAddress,
        change: AcsChange,
        regroup: bool,
        owner: &Owner,
    ) -> Result<RegroupPlan, Refusal> {
        let function = self.function(address)?;
        let acs = match function.acs.known() {
            Some(Some(acs)) => acs,
            Some(None) => return Err(Refusal::NoAcsCapability(address)),
            None => return Err(Refusal::HeaderHidden(address)),
        };
        let control = change
            .apply(acs)
            .map_err(|bits| Refusal::BitsNotOffered { address, bits })?;
        let controls = BTreeMap::from([(address, control)]);
        let cycles = if regroup {
            self.slots_below(address)
        } else {
            Vec::new()
        };
        self.refuse_joining(&controls, owner)?;
        self.plan(&controls, cycles, Some(PowerControl::On))
    }

    /// Plans to switch on every bit that some ports offer, and to group anew what is below those
    /// that change.
    ///
    /// # Errors
    /// Where one of them is no port with ACS, or something below one cannot be removed.
    pub fn plan_ports(&self, ports: &[PciAddress]) -> Result<RegroupPlan, Refusal> {
        let mut controls = BTreeMap::new();
        let mut cycles = Vec::new();
        for port in ports {
            let Some(acs) = self.function(*port)?.acs.known().flatten() else {
                return Err(Refusal::NoAcsCapability(*port));
            };
            if acs.missing() != 0 {
                controls.insert(*port, acs.enabled().control());
                cycles.extend(self.slots_below(*port));
            }
        }
        self.plan(&controls, cycles, Some(PowerControl::On))
    }

    /// Plans to bring ports back to what they were, and to group anew what was grouped anew.
    ///
    /// # Errors
    /// As for the other plans.
    pub fn plan_back(
        &self,
        ports: &[PortOriginal],
        cycles: Vec<Cycle>,
        owner: &Owner,
    ) -> Result<RegroupPlan, Refusal> {
        let mut controls = BTreeMap::new();
        for port in ports {
            let function = self.function(port.address)?;
            if function.identity != port.identity {
                return Err(Refusal::Changed {
                    address: port.address,
                    expected: port.identity,
                    found: Some(function.identity),
                });
            }
            controls.insert(port.address, port.control);
        }
        self.refuse_joining(&controls, owner)?;
        let mut plan = self.plan(&controls, cycles, None)?;
        // Sleep last: a port that sleeps wakes with the kernel's own idea of its bits.
        for port in ports {
            let now = self.power.get(&port.address).copied();
            if let (Some(from), Some(to)) = (now, port.power)
                && from != to
            {
                let address = port.address;
                plan.steps.push(Step::SetPower { address, from, to });
            }
        }
        Ok(plan)
    }

    fn function(&self, address: PciAddress) -> Result<&PciFunction, Refusal> {
        self.snapshot
            .function(address)
            .ok_or(Refusal::UnknownAddress(address))
    }

    fn plan_one(&self, target: PciAddress) -> Result<One, Refusal> {
        let function = self.function(target)?;
        if function.is_gone() {
            return Err(Refusal::Gone(target));
        }
        if function.is_bridge().known() != Some(false) {
            return Err(Refusal::Bridge(target));
        }
        if function.iommu_group.is_none() {
            return Err(Refusal::NoGroup(target));
        }
        let audit = self
            .separation
            .audit(target)
            .ok_or(Refusal::UnknownAddress(target))?;
        let blockers: Vec<_> = audit
            .hops
            .iter()
            .filter(|hop| hop.isolation.isolates != crate::Answer::Known(true))
            .collect();
        let controls: BTreeMap<PciAddress, u16> = blockers
            .iter()
            .filter_map(|hop| {
                let missing = hop.isolation.because.missing_bits();
                let acs = hop.acs.known().flatten()?;
                // A quirk that judges by registers names no bits of its own.
                let missing = if missing == 0 { acs.missing() } else { missing };
                (missing != 0).then_some((hop.address, acs.control() | missing))
            })
            .collect();
        if audit.kernel_partners.is_empty() {
            return Ok(if controls.is_empty() {
                One::Already(audit.verdict)
            } else {
                One::Change(controls, None)
            });
        }
        let found = self
            .cycles_of(target)
            .into_iter()
            .find(|cycle| self.isolates(target, &controls, cycle));
        let Some(cycle) = found else {
            let blocker = blockers
                .iter()
                .rev()
                .find(|hop| !controls.contains_key(&hop.address));
            return Err(
                blocker.map_or(Refusal::NotSeparable(target), |hop| Refusal::NoAcs {
                    asked: target,
                    bridge: hop.address,
                    because: hop.isolation.because,
                    parameter: parameter_for(hop.isolation.because),
                }),
            );
        };
        self.refuse_cycle(target, &cycle)?;
        Ok(One::Change(controls, Some(cycle)))
    }

    /// What could be removed and found again to group a device anew, the smaller first: its slot;
    /// then everything below the port on the root bus.
    ///
    /// Nothing in between: a port of a switch whose neighbours stay has been seen to find no room
    /// for its windows again, and the card behind it with it.
    fn cycles_of(&self, target: PciAddress) -> Vec<Cycle> {
        let mut path = vec![target];
        while let Some(bridge) = path
            .last()
            .and_then(|at| self.snapshot.function(*at)?.upstream)
        {
            path.push(bridge);
            // As deep as bus numbers go, so that a ring ends.
            if path.len() > 256 {
                return Vec::new();
            }
        }
        let cycle = |pair: &[PciAddress]| match pair {
            [at, bridge] => Some(Cycle {
                bridge: *bridge,
                functions: self.slot_below(*bridge, *at),
            }),
            _ => None,
        };
        let mut cycles: Vec<Cycle> = path.windows(2).filter_map(cycle).collect();
        if cycles.len() > 2 {
            cycles.drain(1..cycles.len() - 1);
        }
        cycles
    }

    fn slot_below(&self, bridge: PciAddress, at: PciAddress) -> Vec<PciAddress> {
        self.snapshot
            .slot(at)
            .filter(|function| function.upstream == Some(bridge))
            .map(|function| function.address)
            .collect()
    }

    fn slots_below(&self, bridge: PciAddress) -> Vec<Cycle> {
        let mut slots: BTreeMap<PciAddress, Vec<PciAddress>> = BTreeMap::new();
        for function in self.snapshot.functions.values() {
            if function.upstream == Some(bridge) {
                slots
                    .entry(function.address.first_of_slot())
                    .or_default()
                    .push(function.address);
            }
        }
        slots
            .into_values()
            .map(|functions| Cycle { bridge, functions })
            .collect()
    }

    /// Whether a device would share its group with no other one.
    fn isolates(
        &self,
        target: PciAddress,
        controls: &BTreeMap<PciAddress, u16>,
        cycle: &Cycle,
    ) -> bool {
        let groups = self.simulate(controls, std::slice::from_ref(cycle));
        self.snapshot.slot(target).all(|function| {
            self.separation
                .partners_in(&groups, function.address)
                .is_empty()
        })
    }

    fn simulate(&self, controls: &BTreeMap<PciAddress, u16>, cycles: &[Cycle]) -> Partition {
        let topology = self.separation.topology();
        let mut machine = Simulation::of_kernel(topology, self.separation.platform());
        for (port, control) in controls {
            machine.set_acs(*port, *control);
        }
        for function in cycles.iter().flat_map(|cycle| cycle.functions.iter().rev()) {
            machine.remove(*function);
        }
        for cycle in cycles {
            machine.rescan(Some(cycle.bridge));
        }
        Partition::new(machine.groups())
    }

    fn refuse_cycle(&self, asked: PciAddress, cycle: &Cycle) -> Result<(), Refusal> {
        for function in self.subtrees(std::slice::from_ref(cycle)) {
            if function.is_bridge().known() != Some(true) {
                refuse_member(self.snapshot, self.claims, asked, function, Taking::Cycle)?;
            }
        }
        Ok(())
    }

    /// The functions that go when these are removed, in the order of addresses.
    fn subtrees(&self, cycles: &[Cycle]) -> Vec<&PciFunction> {
        let mut gone: BTreeSet<PciAddress> = cycles
            .iter()
            .flat_map(|cycle| cycle.functions.iter().copied())
            .collect();
        // A bridge's bus has a higher number than its own, so one walk in the order of addresses
        // finds nearly everything; it is repeated for firmware that numbers otherwise.
        loop {
            let before = gone.len();
            for function in self.snapshot.functions.values() {
                if function.upstream.is_some_and(|above| gone.contains(&above)) {
                    gone.insert(function.address);
                }
            }
            if gone.len() == before {
                break;
            }
        }
        gone.into_iter()
            .filter_map(|address| self.snapshot.function(address))
            .collect()
    }

    pub(super) fn without_nested(&self, cycles: BTreeSet<Cycle>) -> Vec<Cycle> {
        let all: Vec<Cycle> = cycles.into_iter().collect();
        all.iter()
            .filter(|cycle| {
                let others = all.iter().filter(|other| other != cycle);
                !others.into_iter().any(|other| {
                    let below = self.subtrees(std::slice::from_ref(other));
                    cycle
                        .functions
                        .iter()
                        .all(|at| below.iter().any(|function| function.address == *at))
                })
            })
            .cloned()
            .collect()
    }

    /// Refuses a change that joins devices which different people have.
    fn refuse_joining(
        &self,
        controls: &BTreeMap<PciAddress, u16>,
        owner: &Owner,
    ) -> Result<(), Refusal> {
        let mut changed = self.snapshot.clone();
        for (address, control) in controls {
            if let Some(function) = changed.functions.get_mut(address) {
                function.acs = function
                    .acs
                    .map(|acs| acs.map(|acs| acs.with_control(*control)));
            }
        }
        let after = Separation::of(&changed, self.separation.platform());
        for claim in self.claims {
            for original in &claim.originals {
                let now = self
                    .separation
                    .partners_in(self.separation.registers(), original.address);
                let then = after.partners_in(after.registers(), original.address);
                let Some(partner) = then.iter().find(|at| !now.contains(at)) else {
                    continue;
                };
                // Containers of several users may share the partner.
                let mut others = self.claims.iter().filter(|other| other.holds(*partner));
                let is_own = claim.owner.uid == owner.uid
                    && others.all(|other| other.owner.uid == owner.uid);
                if !is_own {
                    return Err(Refusal::WouldJoin {
                        member: original.address,
                        partner: *partner,
                        owner: claim.owner.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn plan(
        &self,
        controls: &BTreeMap<PciAddress, u16>,
        cycles: Vec<Cycle>,
        power: Option<PowerControl>,
    ) -> Result<RegroupPlan, Refusal> {
        for cycle in &cycles {
            let asked = cycle.functions.first().copied().unwrap_or(cycle.bridge);
            self.refuse_cycle(asked, cycle)?;
        }
        let gone = self.subtrees(&cycles);
        let originals: Vec<Original> = gone.iter().map(|member| Original::of(member)).collect();
        let mut ports = Vec::new();
        for (address, control) in controls {
            let function = self.function(*address)?;
            let Some(acs) = function.acs.known().flatten() else {
                return Err(Refusal::NoAcsCapability(*address));
            };
            let now = self.power.get(address).copied();
            ports.push(PortChange {
                original: PortOriginal {
                    address: *address,
                    identity: function.identity,
                    control: acs.control(),
                    power: now,
                },
                control: *control,
                power: now.and(power),
            });
        }
        let (before, after) = self.concerned(controls, &cycles, &gone);
        let mut group_ids: Vec<GroupId> = before
            .groups()
            .iter()
            .flatten()
            .filter_map(|at| self.snapshot.function(*at)?.iommu_group)
            .collect();
        group_ids.sort_unstable();
        group_ids.dedup();
        Ok(RegroupPlan {
            steps: steps(&ports, &cycles, &gone),
            ports,
            cycles,
            originals,
            before,
            after,
            group_ids,
        })
    }

    /// The groups before and after, of all functions that share one with what is cycled or with a
    /// port that changes, before or after.
    fn concerned(
        &self,
        controls: &BTreeMap<PciAddress, u16>,
        cycles: &[Cycle],
        gone: &[&PciFunction],
    ) -> (Partition, Partition) {
        let kernel = self.separation.kernel();
        let after = self.simulate(controls, cycles);
        let start = gone
            .iter()
            .map(|function| function.address)
            .chain(controls.keys().copied());
        let mut all = BTreeSet::new();
        for address in start {
            all.insert(address);
            all.extend(kernel.members(address));
            all.extend(after.members(address));
        }
        let keeps = |address| all.contains(&address);
        (kernel.restricted(keeps), after.restricted(keeps))
    }
}

/// What one device needs.
enum One {
    /// Nothing that could be done.
    Already(Verdict),
    /// Control registers, and what must be removed and found again.
    Change(BTreeMap<PciAddress, u16>, Option<Cycle>),
}

fn parameter_for(because: Reason) -> Option<&'static str> {
    match because {
        Reason::NoCapability => Some("pcie_acs_override=downstream,multifunction"),
        _ => None,
    }
}
