//! Whether the IOMMU's groups cover every device and can be used.

use crate::Answer;
use crate::iommu::GroupIndex;
use crate::pci::PciFunction;

use super::{Check, Facts, Finding, Run};

pub(super) const CHECK: Check = Check {
    id: "groups",
    title: "IOMMU groups",
    why: "a device is given away with everything in its group; one in no group, or in a group with \
          memory that firmware keeps for itself, cannot be given away at all",
    looks_at: &[
        "/sys/bus/pci/devices/ADDRESS/iommu_group",
        "/sys/kernel/iommu_groups/N/reserved_regions: lines of the type 'direct'",
    ],
    rule: "Passes where every device is in a group and no group has reserved memory; warns where \
           some are not, or have; fails where there is no group at all.",
    run: Run::Once(run),
};

/// How many devices are named before the rest is counted.
const NAMED: usize = 4;

fn run(facts: &Facts) -> Finding {
    if facts.is_pci_hidden() {
        return Finding::cannot_see("the PCI functions of this machine could not be read");
    }
    let groups = GroupIndex::of(&facts.snapshot).groups().count();
    if groups == 0 {
        return Finding::fail("there are none").with_fix("make the check 'iommu' pass first");
    }
    let uncovered: Vec<String> = facts
        .snapshot
        .functions
        .values()
        .filter(|function| is_uncovered(function))
        .map(|function| function.address.to_string())
        .collect();
    let reserved: Vec<String> = match &facts.host.reserved_groups {
        Answer::Known(groups) => groups.iter().map(ToString::to_string).collect(),
        Answer::CannotSee => Vec::new(),
    };
    let mut found = Vec::new();
    let mut fixes = Vec::new();
    if !uncovered.is_empty() {
        found.push(format!("in no group: {}", listed(&uncovered)));
        fixes.push(
            "sudo dmesg | grep -i -e DMAR -e AMD-Vi -e SMMU, to see why no IOMMU covers them",
        );
    }
    if !reserved.is_empty() {
        found.push(format!(
            "with memory reserved by firmware (RMRR): group {}",
            listed(&reserved)
        ));
        fixes.push(
            "look in the firmware setup or at the vendor for a way to switch shared memory \
             ('RMRR', 'RMRDS') off for the slot",
        );
    }
    let unread = facts.unread_functions();
    if !found.is_empty() {
        return Finding::warning(format!("{groups}; {}", found.join("; ")))
            .with_fix(fixes.join("; "));
    }
    if unread > 0 {
        return Finding::cannot_see(format!(
            "{groups}; {unread} PCI functions could not be read"
        ));
    }
    if facts.host.reserved_groups == Answer::CannotSee {
        return Finding::cannot_see(format!(
            "{groups}, every device is in one; whether one has reserved memory cannot be seen"
        ));
    }
    Finding::pass(format!("{groups}, every device is in one"))
}

/// A bridge may stay without a group, and so does the IOMMU's own function
/// (PCI Code and ID Assignment 1.11, base class 0x08, subclass 0x06).
fn is_uncovered(function: &PciFunction) -> bool {
    let is_iommu = (function.class.base(), function.class.subclass()) == (0x08, 0x06);
    let is_endpoint = function.is_bridge() == Answer::Known(false);
    function.iommu_group.is_none() && is_endpoint && !is_iommu && !function.is_gone()
}

/// Some names, and how many more there are.
pub(super) fn listed(names: &[String]) -> String {
    let named: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    match names.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::pci::GroupId;

    use super::super::{State, sample};
    use super::*;

    #[test]
    fn groups_that_cover_everything_pass() {
        assert_eq!(
            run(&sample::good()),
            Finding::pass("3, every device is in one")
        );
    }

    #[test]
    fn devices_without_a_group_are_named() {
        let mut facts = sample::good();
        for function in facts.snapshot.functions.values_mut().take(1) {
            function.iommu_group = None;
        }
        let finding = run(&facts);
        assert_eq!(finding.state, State::Warning);
        assert_eq!(finding.found, "2; in no group: 0000:00:02.0");
    }

    #[test]
    fn reserved_memory_is_named() {
        let mut facts = sample::good();
        facts.host.reserved_groups = Answer::Known(BTreeSet::from([GroupId(7)]));
        let finding = run(&facts);
        assert_eq!(finding.state, State::Warning);
        assert_eq!(
            finding.found,
            "3; with memory reserved by firmware (RMRR): group 7"
        );
    }

    #[test]
    fn no_group_fails_and_hidden_functions_do_not() {
        assert_eq!(run(&sample::bare()).state, State::Fail);
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
        let mut facts = sample::good();
        facts.host.reserved_groups = Answer::CannotSee;
        assert_eq!(run(&facts).state, State::CannotSee);
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..6).map(|n| n.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3 and 2 more");
    }
}
