//! Plans that change ACS.

use vfioctl_core::acs::BIT_NAMES;
use vfioctl_core::iommu::Partition;
use vfioctl_core::plan::{OverridePlan, RegroupPlan, Step};

use crate::acs as io;

/// The names of bits.
pub fn bit_names(bits: u16) -> Vec<String> {
    BIT_NAMES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// Groups as lists of addresses.
pub fn groups(groups: &Partition) -> Vec<Vec<String>> {
    groups
        .groups()
        .iter()
        .map(|group| group.iter().map(ToString::to_string).collect())
        .collect()
}

/// A step, with its sentence.
pub fn acs_step(step: &Step) -> io::Step {
    let (verb, driver) = match step {
        Step::SetOverride { to, .. } => (io::Step_verb::set_override, to.clone()),
        Step::Unbind { driver, .. } => (io::Step_verb::unbind, Some(driver.to_string())),
        Step::Bind { driver, .. } => (io::Step_verb::bind, Some(driver.to_string())),
        Step::SetAcs { .. } => (io::Step_verb::set_acs, None),
        Step::SetPower { .. } => (io::Step_verb::set_power, None),
        Step::Remove { .. } => (io::Step_verb::remove, None),
        Step::Rescan { .. } => (io::Step_verb::rescan, None),
    };
    io::Step {
        verb,
        address: step.address().to_string(),
        driver,
        text: step.to_string(),
    }
}

/// A plan that changes ACS and groups anew.
pub fn regroup_plan(plan: &RegroupPlan) -> io::Plan {
    io::Plan {
        ports: plan
            .ports
            .iter()
            .map(|port| io::Port {
                address: port.original.address.to_string(),
                before: bit_names(port.original.control),
                after: bit_names(port.control),
            })
            .collect(),
        members: plan
            .originals
            .iter()
            .map(|original| original.address.to_string())
            .collect(),
        groups_before: groups(&plan.before),
        groups_after: groups(&plan.after),
        steps: plan.steps.iter().map(acs_step).collect(),
        others: Vec::new(),
    }
}

/// A plan that isolates devices.
pub fn override_plan(plan: &OverridePlan) -> io::Plan {
    let already = plan.already.iter().map(|(address, verdict)| io::Other {
        address: address.to_string(),
        reason: verdict.name().to_owned(),
        message: verdict.to_string(),
        hint: None,
    });
    let impossible = plan.impossible.iter().map(|(address, refusal)| io::Other {
        address: address.to_string(),
        reason: refusal.name().to_owned(),
        message: refusal.to_string(),
        hint: Some(refusal.hint()),
    });
    io::Plan {
        others: already.chain(impossible).collect(),
        ..regroup_plan(&plan.regroup)
    }
}
