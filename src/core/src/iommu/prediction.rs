//! The groups that a boot would make of a machine, and why.

use std::collections::BTreeSet;

use crate::acs::Platform;
use crate::pci::PciAddress;

use super::explanation::{Explanation, explain};
use super::simulation::{Hidden, Simulation};
use super::topology::Topology;

/// The groups that a boot would make, with the registers as they are.
///
/// Linux itself writes the registers when it boots with an IOMMU, so this equals a real boot where
/// nobody has changed them since; where somebody has, it tells what they are worth now. For a real
/// boot see [`Topology::at_boot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// The groups, each in the order of addresses, ordered by their first members. Where something
    /// decisive is hidden, the coarsest that is possible.
    pub groups: Vec<Vec<PciAddress>>,
    /// Functions whose group depends on what could not be seen.
    pub uncertain: BTreeSet<PciAddress>,
    /// Why each function is where it is, in the order of addresses.
    pub explanations: Vec<Explanation>,
}

/// Predicts the groups of a machine.
pub fn predict(topology: &Topology, platform: &Platform) -> Prediction {
    let simulation = Simulation::boot(topology, platform, Hidden::Joins);
    let groups = simulation.groups();
    let uncertain = if simulation.sees_everything() {
        BTreeSet::new()
    } else {
        let finest = Simulation::boot(topology, platform, Hidden::Isolates).groups();
        find_uncertain(&groups, &finest)
    };
    let explanations = explain(&simulation, &groups, &uncertain);
    Prediction {
        groups,
        uncertain,
        explanations,
    }
}

/// Only the groups: for those who ask for many machines.
pub fn predict_groups(topology: &Topology, platform: &Platform) -> Vec<Vec<PciAddress>> {
    Simulation::boot(topology, platform, Hidden::Joins).groups()
}

/// The members of groups that are not in both lists.
fn find_uncertain(
    coarsest: &[Vec<PciAddress>],
    finest: &[Vec<PciAddress>],
) -> BTreeSet<PciAddress> {
    // Both are ordered by first members.
    let is_in_both = |group: &Vec<PciAddress>| finest.binary_search(group).is_ok();
    coarsest
        .iter()
        .filter(|group| !is_in_both(group))
        .flatten()
        .copied()
        .collect()
}
