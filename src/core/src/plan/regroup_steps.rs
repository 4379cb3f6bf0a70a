//! The steps of a regrouping, in the order that hurts least.

use crate::pci::{DriverName, PciAddress, PciFunction};

use super::Step;
use super::regroup::{Cycle, PortChange};

/// Drivers let go first, so that a removal has nobody to wait for; then registers; then all
/// removals, the last function first, and the searches; then drivers come back.
pub(super) fn steps(ports: &[PortChange], cycles: &[Cycle], gone: &[&PciFunction]) -> Vec<Step> {
    let mut steps = Vec::new();
    for function in gone {
        if let (Some(driver), Some(false)) = (&function.driver, function.is_bridge().known()) {
            steps.push(Step::Unbind {
                address: function.address,
                driver: driver.clone(),
            });
        }
    }
    for port in ports {
        let address = port.original.address;
        if let (Some(from), Some(to)) = (port.original.power, port.power)
            && from != to
        {
            steps.push(Step::SetPower { address, from, to });
        }
        let (from, to) = (port.original.control, port.control);
        if from != to {
            steps.push(Step::SetAcs { address, from, to });
        }
    }
    let removals = plan_removals(gone).into_iter();
    steps.extend(removals.map(|address| Step::Remove { address }));
    let mut bridges: Vec<PciAddress> = cycles.iter().map(|cycle| cycle.bridge).collect();
    bridges.sort_unstable();
    bridges.dedup();
    steps.extend(bridges.into_iter().map(|bridge| Step::Rescan { bridge }));
    for function in gone {
        let address = function.address;
        if let Some(Some(to)) = function.driver_override.as_ref().known() {
            let to = Some(to.clone());
            let from = None;
            steps.push(Step::SetOverride { address, from, to });
        }
        if let Some(driver) = bound_again(function) {
            steps.push(Step::Bind { address, driver });
        }
    }
    steps
}

/// The order in which functions are removed: each by itself, children before their bridges: removing a bridge with all below it has
/// crashed kernels where a switch was there (`drivers/pci/pcie/aspm.c`,
/// `pcie_aspm_exit_link_state`).
pub fn plan_removals(gone: &[&PciFunction]) -> Vec<PciAddress> {
    let depth = |function: &PciFunction| {
        let above = |at: &PciAddress| {
            let function = gone.iter().find(|function| function.address == *at);
            function.and_then(|function| function.upstream)
        };
        // As deep as bus numbers go, so that a ring ends.
        std::iter::successors(Some(function.address), above)
            .take(256)
            .count()
    };
    let mut order: Vec<(usize, PciAddress)> = gone
        .iter()
        .map(|function| (depth(function), function.address))
        .collect();
    order.sort_unstable();
    order
        .into_iter()
        .rev()
        .map(|(_, address)| address)
        .collect()
}

/// A bridge's driver is built in and takes it at once.
fn bound_again(function: &PciFunction) -> Option<DriverName> {
    match function.is_bridge().known() {
        Some(false) => function.driver.clone(),
        _ => None,
    }
}
