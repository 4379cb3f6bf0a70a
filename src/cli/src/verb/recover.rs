//! `vfioctl recover`: takes home what has no living owner.

use vfioctl_protocol::device;

use crate::Done;
use crate::record::{RecoverRecord, RecoveredRecord, StepRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl recover`. What is not home afterwards makes it a no.
pub(super) fn run(only_plan: bool, session: &mut Session<'_>) -> Done {
    let mut helper = session.helper()?;
    let reply = helper
        .recover(!only_plan)
        .map_err(|error| session.failure(&error))?;
    let record = RecoverRecord {
        planned: only_plan,
        recovered: reply.recovered.into_iter().map(recovered).collect(),
    };
    session.output.answer(&record)?;
    let is_home = only_plan || record.recovered.iter().all(|each| each.home);
    Ok(if is_home { Verdict::Yes } else { Verdict::No })
}

fn recovered(wire: device::Recovered) -> RecoveredRecord {
    RecoveredRecord {
        owner: wire.owner.into(),
        found: wire.found,
        addresses: wire.addresses,
        steps: StepRecord::all(wire.steps),
        leftovers: wire.leftovers,
        home: wire.home,
        pinned: wire.pinned,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_helper::{last, run};

    fn left(home: bool) -> Value {
        json!({
            "owner": {"uid": 1000}, "found": "x", "addresses": [], "steps": [], "leftovers": [],
            "home": home, "pinned": false,
        })
    }

    #[test]
    fn recovery_acts_unless_only_a_plan_is_wanted() {
        for (words, commit) in [(&["recover"][..], true), (&["recover", "--plan"], false)] {
            let replies = vec![last(json!({"recovered": []}))];
            let outcome = run(vfioctl_protocol::LEVEL, words, replies);
            assert_eq!(outcome.answer, "nothing left behind\n");
            let asked = (
                "io.vfioctl.Device.Recover".to_owned(),
                json!({"commit": commit}),
            );
            assert_eq!(outcome.asked, [asked]);
        }
    }

    #[test]
    fn what_is_not_home_is_a_no() {
        for (home, verdict) in [(true, Verdict::Yes), (false, Verdict::No)] {
            let replies = vec![last(json!({"recovered": [left(home)]}))];
            let outcome = run(vfioctl_protocol::LEVEL, &["recover"], replies);
            assert_eq!(outcome.verdict, verdict);
        }
    }
}
