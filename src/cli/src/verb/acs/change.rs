//! `vfioctl acs set`, `override` and `restore`: changes, through the helper.

use vfioctl_core::acs::{AcsChange, BitNames, REQUIRED};
use vfioctl_core::pci::PciAddress;
use vfioctl_protocol::acs;

use crate::Done;
use crate::failure::Failure;
use crate::helper::Regrouped;
use crate::record::{OtherRecord, PortRecord, RegroupRecord, StepRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl acs override`.
pub(super) fn isolate(devices: &[PciAddress], only_plan: bool, session: &mut Session<'_>) -> Done {
    let mut helper = session.helper()?;
    let plan = helper.plan_isolate(devices);
    let plan = plan.map_err(|error| session.failure(&error))?;
    let record = if only_plan {
        record(plan, None, Vec::new())
    } else {
        let mut steps = Vec::new();
        let members = plan.members.clone();
        let done = helper.isolate(devices, members, |step| tell(step, session, &mut steps));
        finish(done, steps, session)?
    };
    // Nobody named the devices that could not be had, or the helper would have refused.
    let is_done = record.others.iter().all(|other| other.hint.is_none());
    session.output.answer(&record)?;
    Ok(if is_done { Verdict::Yes } else { Verdict::No })
}

/// Answers `vfioctl acs set`.
pub(super) fn set(
    address: PciAddress,
    bits: AcsChange,
    regroup: bool,
    only_plan: bool,
    session: &mut Session<'_>,
) -> Done {
    let mut helper = session.helper()?;
    let weakened = REQUIRED & bits.bits_to_clear();
    if weakened != 0 {
        session.output.say(&format!(
            "warning: without {} on {address}, devices below it can reach others past the IOMMU; \
             'vfioctl acs restore {address}' takes it back\n",
            BitNames(weakened)
        ));
    }
    let record = if only_plan {
        let plan = helper.plan_set_acs(address, bits, regroup);
        record(
            plan.map_err(|error| session.failure(&error))?,
            None,
            Vec::new(),
        )
    } else {
        let mut steps = Vec::new();
        let done = helper.set_acs(address, bits, regroup, |step| {
            tell(step, session, &mut steps);
        });
        finish(done, steps, session)?
    };
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

/// Answers `vfioctl acs restore`.
pub(super) fn restore(ports: &[PciAddress], only_plan: bool, session: &mut Session<'_>) -> Done {
    let mut helper = session.helper()?;
    let record = if only_plan {
        let plan = helper.plan_restore_acs(ports);
        record(
            plan.map_err(|error| session.failure(&error))?,
            None,
            Vec::new(),
        )
    } else {
        let mut steps = Vec::new();
        let done = helper.restore_acs(ports, |step| tell(step, session, &mut steps));
        finish(done, steps, session)?
    };
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

fn tell(step: acs::Step, session: &mut Session<'_>, steps: &mut Vec<StepRecord>) {
    session.output.progress(&step.text);
    steps.push(step.into());
}

fn finish(
    done: Result<Regrouped, vfioctl_protocol::ClientError>,
    steps: Vec<StepRecord>,
    session: &mut Session<'_>,
) -> Result<RegroupRecord, Failure> {
    let done = done.map_err(|error| session.failure(&error))?;
    Ok(record(done.plan, Some(done.groups), steps))
}

/// `done`: the steps that were done; in a plan, those that would be are taken from it.
fn record(
    plan: acs::Plan,
    groups_now: Option<Vec<Vec<String>>>,
    done: Vec<StepRecord>,
) -> RegroupRecord {
    let planned = groups_now.is_none();
    let steps = if planned {
        plan.steps.into_iter().map(Into::into).collect()
    } else {
        done
    };
    RegroupRecord {
        planned,
        ports: plan.ports.into_iter().map(port).collect(),
        members: plan.members,
        groups_before: plan.groups_before,
        groups_predicted: plan.groups_after,
        groups_now,
        steps,
        others: plan.others.into_iter().map(other).collect(),
    }
}

fn port(wire: acs::Port) -> PortRecord {
    PortRecord {
        address: wire.address,
        before: wire.before,
        after: wire.after,
    }
}

fn other(wire: acs::Other) -> OtherRecord {
    OtherRecord {
        address: wire.address,
        reason: wire.reason,
        message: wire.message,
        hint: wire.hint,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_helper::{last, more, refused, run};
    use crate::record::schema::assert_answer;

    fn plan() -> Value {
        json!({
            "ports": [{"address": "0000:00:04.0", "before": [], "after": ["sv", "rr"]}],
            "members": ["0000:01:00.0"],
            "groups_before": [["0000:00:04.0", "0000:01:00.0"]],
            "groups_after": [["0000:00:04.0"], ["0000:01:00.0"]],
            "steps": [step()],
            "others": [],
        })
    }

    fn step() -> Value {
        json!({"verb": "set_acs", "address": "0000:00:04.0", "text": "set the bits"})
    }

    #[test]
    fn an_override_does_what_its_plan_saw() {
        let replies = vec![
            last(json!({"plan": plan()})),
            more(json!({"step": step()})),
            last(json!({"plan": plan(), "groups": [["0000:00:04.0"], ["0000:01:00.0"]]})),
        ];
        let outcome = run(
            vfioctl_protocol::LEVEL,
            &["acs", "override", "01:00.0"],
            replies,
        );
        assert_eq!(outcome.verdict, Verdict::Yes);
        assert_eq!(
            outcome.asked[1],
            (
                "io.vfioctl.Acs.Isolate".to_owned(),
                json!({"addresses": ["0000:01:00.0"], "members": ["0000:01:00.0"]})
            )
        );
        assert!(
            outcome.answer.contains("0000:01:00.0"),
            "{}",
            outcome.answer
        );
    }

    #[test]
    fn a_gpu_that_cannot_be_had_makes_it_a_no_and_is_told() {
        let mut plan = plan();
        plan["others"] = json!([{
            "address": "0000:03:00.0", "reason": "NoAcs", "message": "it cannot", "hint": "try it",
        }]);
        let replies = vec![last(json!({"plan": plan}))];
        let outcome = run(
            vfioctl_protocol::LEVEL,
            &["acs", "override", "--plan"],
            replies,
        );
        assert_eq!(outcome.verdict, Verdict::No);
        assert!(outcome.answer.contains("it cannot"), "{}", outcome.answer);
    }

    #[test]
    fn clearing_warns() {
        let replies = vec![last(json!({"plan": plan()}))];
        let words = ["acs", "set", "00:04.0", "--plan", "--", "-rr"];
        let outcome = run(vfioctl_protocol::LEVEL, &words, replies);
        assert!(
            outcome.conversation.contains("warning"),
            "{}",
            outcome.conversation
        );
        assert_eq!(
            outcome.asked[0].1,
            json!({"address": "0000:00:04.0", "bits": "-rr", "regroup": false})
        );
    }

    #[test]
    fn a_refusal_is_a_no() {
        let replies = vec![refused("NoAcs")];
        let outcome = run(
            vfioctl_protocol::LEVEL,
            &["acs", "override", "03:00.0"],
            replies,
        );
        assert_eq!(outcome.verdict, Verdict::No);
    }

    #[test]
    fn answers_have_the_shape_of_their_schema() {
        let plan: acs::Plan = serde_json::from_value(plan()).unwrap();
        assert_answer("acs-change", &record(plan.clone(), None, Vec::new()));
        let now = Some(plan.groups_after.clone());
        assert_answer("acs-change", &record(plan, now, Vec::new()));
    }
}
