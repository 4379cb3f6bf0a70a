//! Which GPUs can be given away, and why the others cannot.
//!
//! The answer is the one that `vfioctl bind` would give: the same plan, the same refusals.

use crate::Answer;
use crate::pci::PciFunction;
use crate::plan::{BindPlan, Refusal, plan_bind, refuse_claimed};

use super::{Check, Facts, Finding, Run, State};

pub(super) const CHECK: Check = Check {
    id: "gpu",
    title: "GPU",
    why: "a GPU is given away with all functions of its card and everything in its IOMMU groups, \
          and only where the host can do without them",
    looks_at: &[
        "/sys/bus/pci/devices/: display controllers (class 03) and accelerators (class 12)",
        "what 'vfioctl bind ADDRESS --plan' would answer",
    ],
    rule: "One row a GPU. Passes where it can be given away or already is, warns where it can and \
           the host loses its screen, warns where it cannot; fails where no GPU can.",
    run: Run::Each(run),
};

fn run(facts: &Facts) -> Vec<Finding> {
    if facts.is_pci_hidden() {
        return vec![Finding::cannot_see(
            "the PCI functions of this machine could not be read",
        )];
    }
    let gpus = || {
        facts
            .snapshot
            .functions
            .values()
            .filter(|function| function.class.is_gpu())
    };
    let mut findings: Vec<Finding> = gpus()
        .map(|gpu| judge(facts, gpu).about(gpu.address))
        .collect();
    let unread = facts.unread_functions();
    if findings.is_empty() && unread > 0 {
        return vec![Finding::cannot_see(format!(
            "no GPU was seen, and {unread} PCI functions could not be read"
        ))];
    }
    if findings.is_empty() {
        return vec![Finding::warning("this machine shows no GPU").with_fix(
            "run 'vfioctl list --all' to see the other devices; they can be given away too",
        )];
    }
    // One GPU for the host and one for guests is the usual machine; none for guests is not, but
    // a function that could not be read may be the one.
    let refused = |finding: &Finding| finding.state == State::Fail;
    let is_hopeless = findings.iter().all(refused) && unread == 0;
    for finding in findings
        .iter_mut()
        .filter(|finding| refused(finding) && !is_hopeless)
    {
        finding.state = State::Warning;
    }
    findings
}

/// Judges one GPU; one that cannot be given away fails here, whatever the others do.
fn judge(facts: &Facts, gpu: &PciFunction) -> Finding {
    // Containers come and go: what they use now can be given away when they have ended.
    let claims = facts.known_claims().iter();
    let whole = claims.filter(|claim| claim.owner.container().is_none());
    match plan_bind(&facts.snapshot, whole, gpu.address) {
        Ok(plan) => match reserved_group(facts, &plan) {
            Some(group) => Finding::fail(format!(
                "cannot be given away: firmware keeps memory for a device of group {group} (RMRR)"
            ))
            .with_fix("move it to a slot with a group of its own; 'vfioctl groups' shows them"),
            None => free(facts, gpu, &plan),
        },
        Err(Refusal::Claimed { owner, .. }) => {
            Finding::pass(format!("is given away: it belongs to {owner}"))
        }
        Err(refusal @ Refusal::HeaderHidden(_)) => {
            Finding::cannot_see(refusal.to_string()).with_fix(refusal.hint())
        }
        Err(Refusal::NoGroup(address)) => Finding::fail(format!(
            "cannot be given away: {address} is in no IOMMU group"
        ))
        .with_fix("make the checks 'iommu' and 'groups' pass first"),
        Err(refusal) => {
            Finding::fail(format!("cannot be given away: {refusal}")).with_fix(refusal.hint())
        }
    }
}

fn reserved_group(facts: &Facts, plan: &BindPlan) -> Option<crate::pci::GroupId> {
    let Answer::Known(reserved) = &facts.host.reserved_groups else {
        return None;
    };
    plan.groups
        .iter()
        .find(|group| reserved.contains(group))
        .copied()
}

fn free(facts: &Facts, gpu: &PciFunction, plan: &BindPlan) -> Finding {
    let others: Vec<String> = plan
        .originals
        .iter()
        .filter(|original| original.address != gpu.address)
        .map(|original| original.address.to_string())
        .collect();
    let mut found = "can be given away".to_owned();
    if !others.is_empty() {
        found += &format!(", with {}", others.join(", "));
    }
    found += &match &gpu.driver {
        Some(driver) => format!("; driver {driver}"),
        None => "; no driver".to_owned(),
    };
    let in_use = plan.originals.iter().find_map(|original| {
        refuse_claimed(facts.known_claims(), original.address, original.address).err()
    });
    if let Some(in_use) = in_use {
        found += &format!("; now {in_use}");
    }
    if facts.claims == Answer::CannotSee {
        found += "; whether someone has it cannot be seen without the helper";
    }
    if gpu.boot_vga == Some(true) {
        return Finding::warning(format!("{found}; the host's screen goes dark with it")).with_fix(
            "make another GPU the primary display in the firmware setup, or work over the network",
        );
    }
    Finding::pass(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::claim::{Claim, Container, Original, Owner, Purpose};
    use crate::pci::GroupId;
    use crate::snapshot::HostUse;

    use super::super::sample;
    use super::*;

    fn states(facts: &Facts) -> Vec<State> {
        run(facts).iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn each_gpu_has_a_row_that_says_what_goes_with_it() {
        let findings = run(&sample::good());
        let gpu = |text: &str| text.parse().unwrap();
        assert_eq!(
            findings,
            [
                Finding::pass("can be given away; driver i915").about(gpu("0000:00:02.0")),
                Finding::pass("can be given away, with 0000:01:00.1; driver nvidia")
                    .about(gpu("0000:01:00.0")),
            ]
        );
    }

    #[test]
    fn a_gpu_that_the_host_needs_is_a_warning_beside_a_free_one() {
        let mut facts = sample::good();
        let audio = "0000:01:00.1".parse().unwrap();
        let interface = "eth0".to_owned();
        facts
            .snapshot
            .host_uses
            .insert(audio, vec![HostUse::Network { interface }]);
        assert_eq!(states(&facts), [State::Pass, State::Warning]);
    }

    #[test]
    fn a_machine_where_no_gpu_can_go_fails() {
        assert_eq!(states(&sample::bare()), [State::Fail, State::Fail]);
    }

    #[test]
    fn a_gpu_in_a_group_with_reserved_memory_cannot_go() {
        let mut facts = sample::good();
        facts.host.reserved_groups = Answer::Known(BTreeSet::from([GroupId(15)]));
        assert_eq!(states(&facts), [State::Pass, State::Warning]);
    }

    #[test]
    fn a_gpu_that_someone_has_is_given_away() {
        let mut facts = sample::good();
        let function = facts.snapshot.functions.values().last().unwrap();
        let claim = Claim {
            owner: Owner::person(1000),
            originals: vec![Original::of(function)],
            since: 0,
        };
        facts.claims = Answer::Known(vec![claim]);
        assert_eq!(
            run(&facts).last().map(|finding| finding.found.clone()),
            Some("is given away: it belongs to user 1000".to_owned())
        );
    }

    #[test]
    fn a_gpu_that_a_container_uses_can_be_given_away_later() {
        let mut facts = sample::good();
        let function = facts.snapshot.functions.values().last().unwrap();
        let container = Container {
            name: "train".parse().unwrap(),
            exclusive: false,
            user: None,
        };
        let claim = Claim {
            owner: Owner {
                uid: 1000,
                purpose: Purpose::Container(container),
            },
            originals: vec![Original::of(function)],
            since: 0,
        };
        let address = function.address;
        facts.claims = Answer::Known(vec![claim]);
        let finding = run(&facts).pop().unwrap();
        assert_eq!(finding.state, State::Pass);
        let ending = format!("; now {address} is used by container 'train' of user 1000");
        assert!(finding.found.ends_with(&ending), "{}", finding.found);
    }

    #[test]
    fn the_boot_display_is_a_warning() {
        let mut facts = sample::good();
        facts
            .snapshot
            .functions
            .values_mut()
            .next()
            .unwrap()
            .boot_vga = Some(true);
        assert_eq!(states(&facts), [State::Warning, State::Pass]);
    }

    #[test]
    fn hidden_functions_are_not_missing_gpus() {
        assert_eq!(states(&sample::unseen()), [State::CannotSee]);
        let mut facts = sample::good();
        for function in facts.snapshot.functions.values_mut() {
            function.header_type = Answer::CannotSee;
        }
        assert_eq!(states(&facts), [State::CannotSee, State::CannotSee]);
    }

    #[test]
    fn a_function_that_could_not_be_read_may_be_a_gpu() {
        let subject = "/sys/bus/pci/devices/0000:05:00.0".to_owned();
        let problem = crate::Problem {
            subject,
            because: "denied".to_owned(),
        };
        let mut facts = sample::bare();
        facts.snapshot.problems.push(problem);
        assert_eq!(states(&facts), [State::Warning, State::Warning]);
        facts
            .snapshot
            .functions
            .retain(|_, function| !function.class.is_gpu());
        assert_eq!(states(&facts), [State::CannotSee]);
    }

    #[test]
    fn a_machine_without_a_gpu_is_a_warning() {
        let mut facts = sample::good();
        facts
            .snapshot
            .functions
            .retain(|_, function| !function.class.is_gpu());
        assert_eq!(states(&facts), [State::Warning]);
    }
}
