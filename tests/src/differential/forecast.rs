//! What the predictor says that a machine will be after some steps.

use std::collections::{BTreeMap, BTreeSet};

use vfioctl_core::acs::{Acs, Platform};
use vfioctl_core::iommu::{Simulation, Topology};
use vfioctl_core::pci::{PciAddress, SriovRole};
use vfioctl_core::{Answer, Snapshot};

use super::action::Step;

/// Groups in the order of their first members, each in the order of addresses.
pub(super) type Groups = Vec<Vec<PciAddress>>;

/// A machine from which steps are taken: everything that is known of, and what of it is removed.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    pub(super) known: Snapshot,
    pub(super) absent: BTreeSet<PciAddress>,
}

/// What the predictor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forecast {
    pub(super) groups: Groups,
    /// The ACS registers of every function that has them, also of those that are removed.
    pub(super) registers: BTreeMap<PciAddress, Acs>,
}

impl Start {
    /// Everything is there.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            known: snapshot.clone(),
            absent: BTreeSet::new(),
        }
    }

    /// Takes in what is there now; what was there before is kept as it was last seen, with the
    /// registers that it should have: the device is still there, and nobody can look.
    pub(super) fn update(&mut self, now: &Snapshot, registers: &BTreeMap<PciAddress, Acs>) {
        let now = &now.functions;
        self.known
            .functions
            .extend(now.iter().map(|(at, function)| (*at, function.clone())));
        let known = self.known.functions.keys().copied();
        self.absent = known.filter(|at| !now.contains_key(at)).collect();
        for at in &self.absent {
            if let (Some(function), Some(acs)) =
                (self.known.functions.get_mut(at), registers.get(at))
            {
                function.acs = Answer::Known(Some(*acs));
            }
        }
    }

    /// Takes in virtual functions that were made after this start. Where they appear is the
    /// device's choice and no part of the prediction; their groups are.
    pub(super) fn learn_virtual_functions(&mut self, now: &Snapshot) {
        for function in now.functions.values() {
            let is_virtual = matches!(function.sriov, SriovRole::Virtual { .. });
            if is_virtual && !self.known.functions.contains_key(&function.address) {
                let at = function.address;
                self.known.functions.insert(at, function.clone());
                self.absent.insert(at);
            }
        }
    }

    /// The machine after some steps.
    pub(super) fn forecast(&self, steps: &[Step], platform: &Platform) -> Forecast {
        let topology = Topology::of(&self.known);
        let mut simulation = Simulation::of_kernel(&topology, platform);
        for at in &self.absent {
            simulation.remove(*at);
        }
        for step in steps {
            match *step {
                Step::SetAcs { at, control, .. } => simulation.set_acs(at, control),
                Step::Remove(at) => simulation.remove(at),
                Step::Rescan(bridge) => simulation.rescan(bridge),
                Step::VirtualFunctions { physical, count } => {
                    simulation.set_virtual_functions(physical, count);
                }
            }
        }
        let registers = self.known.functions.keys();
        Forecast {
            groups: simulation.groups(),
            registers: registers
                .filter_map(|at| Some((*at, simulation.acs(*at)?)))
                .collect(),
        }
    }
}

/// The groups that the kernel shows.
pub(super) fn groups_of(snapshot: &Snapshot) -> Groups {
    let mut groups: BTreeMap<_, Vec<PciAddress>> = BTreeMap::new();
    for function in snapshot.functions.values() {
        if let Some(group) = function.iommu_group {
            groups.entry(group).or_default().push(function.address);
        }
    }
    let mut groups: Groups = groups.into_values().collect();
    groups.sort_unstable();
    groups
}

/// The registers that the functions have.
pub(super) fn registers_of(snapshot: &Snapshot) -> BTreeMap<PciAddress, Acs> {
    let functions = snapshot.functions.values();
    functions
        .filter_map(|function| match function.acs {
            Answer::Known(Some(acs)) => Some((function.address, acs)),
            _ => None,
        })
        .collect()
}
