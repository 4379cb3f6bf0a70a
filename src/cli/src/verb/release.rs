//! `vfioctl release`: gives a device back to the drivers it had.

use vfioctl_core::pci::PciAddress;

use crate::Done;
use crate::record::{ReleaseRecord, StepRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl release`. What could not be brought back makes it a no.
pub(super) fn run(address: PciAddress, only_plan: bool, session: &mut Session<'_>) -> Done {
    let mut helper = session.helper()?;
    let plan = helper
        .plan_release(address)
        .map_err(|error| session.failure(&error))?;
    if only_plan {
        session.output.answer(&ReleaseRecord {
            address: address.to_string(),
            planned: true,
            members: plan.members,
            steps: StepRecord::all(plan.steps),
            leftovers: Vec::new(),
            unpinned: plan.unpinned,
        })?;
        return Ok(Verdict::Yes);
    }
    let mut steps = Vec::new();
    let done = helper.release(address, |step| {
        session.output.progress(&step.text);
        steps.push(StepRecord::from(step));
    });
    let reply = done.map_err(|error| session.failure(&error))?;
    let record = ReleaseRecord {
        address: address.to_string(),
        planned: false,
        members: reply.released.unwrap_or(plan.members),
        steps,
        leftovers: reply.leftovers.unwrap_or_default(),
        unpinned: reply.unpinned.unwrap_or_default(),
    };
    session.output.answer(&record)?;
    Ok(if record.leftovers.is_empty() {
        Verdict::Yes
    } else {
        Verdict::No
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake_helper::{last, more, refused, run};

    #[test]
    fn what_could_not_be_brought_back_is_a_no() {
        let step = json!({"verb": "unbind", "address": "a", "driver": "d", "text": "unbind it"});
        for (leftovers, verdict) in [(json!([]), Verdict::Yes), (json!(["gone"]), Verdict::No)] {
            let replies = vec![
                last(json!({"members": ["0000:01:00.0"], "steps": [], "unpinned": []})),
                more(json!({"step": step})),
                last(json!({"released": ["0000:01:00.0"], "leftovers": leftovers})),
            ];
            let outcome = run(vfioctl_protocol::LEVEL, &["release", "01:00.0"], replies);
            assert_eq!(outcome.verdict, verdict);
            assert_eq!(outcome.conversation, "unbind it\n");
        }
    }

    #[test]
    fn a_refusal_is_told() {
        let replies = vec![refused("NotClaimed")];
        let outcome = run(
            vfioctl_protocol::LEVEL,
            &["release", "01:00.0", "--json"],
            replies,
        );
        let answer: serde_json::Value = serde_json::from_str(&outcome.answer).unwrap();
        assert_eq!(answer["error"]["name"], "NotClaimed");
        assert_eq!(outcome.verdict, Verdict::No);
    }
}
