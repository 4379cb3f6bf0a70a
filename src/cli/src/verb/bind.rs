//! `vfioctl bind`: takes a device from its drivers and gives it to vfio-pci.

use vfioctl_core::pci::PciAddress;
use vfioctl_protocol::{ClientError, device};

use crate::Done;
use crate::failure::Failure;
use crate::helper::Helper;
use crate::record::{BindRecord, ClaimRecord, StepRecord};
use crate::seen::SeenClaim;
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl bind`.
pub(super) fn run(
    address: PciAddress,
    persist: bool,
    only_plan: bool,
    session: &mut Session<'_>,
) -> Done {
    let mut helper = session.helper()?;
    let asked = Asked {
        address,
        persist,
        only_plan,
    };
    let plan = match helper.plan_bind(address, persist) {
        Ok(plan) => plan,
        Err(error) => return already_or(error, asked, &mut helper, session),
    };
    let record = if only_plan {
        planned(asked, plan)
    } else {
        bind(asked, plan, &mut helper, session)?
    };
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    address: PciAddress,
    persist: bool,
    only_plan: bool,
}

fn planned(asked: Asked, plan: device::PlanBind_Reply) -> BindRecord {
    BindRecord {
        address: asked.address.to_string(),
        planned: true,
        pinned: asked.persist,
        already: false,
        members: plan.members,
        groups: plan.groups,
        steps: StepRecord::all(plan.steps),
        claim: None,
    }
}

/// Binds what the plan saw, and nothing else.
fn bind(
    asked: Asked,
    plan: device::PlanBind_Reply,
    helper: &mut Helper,
    session: &mut Session<'_>,
) -> Result<BindRecord, Failure> {
    let mut steps = Vec::new();
    let members = Some(plan.members.clone());
    let done = helper.bind(asked.address, members, asked.persist, |step| {
        session.output.progress(&step.text);
        steps.push(StepRecord::from(step));
    });
    let reply = done.map_err(|error| session.failure(&error))?;
    let claim = reply.claim.as_ref().map(SeenClaim::from_wire).transpose();
    let claim =
        claim.map_err(|error| session.failure(&ClientError::Malformed(error.to_string())))?;
    Ok(BindRecord {
        address: asked.address.to_string(),
        planned: false,
        already: false,
        pinned: reply.pinned.unwrap_or(false),
        members: plan.members,
        groups: plan.groups,
        steps,
        claim: claim.as_ref().map(ClaimRecord::of),
    })
}

/// Whoever asks for what they have already has what they want.
fn already_or(
    error: ClientError,
    asked: Asked,
    helper: &mut Helper,
    session: &mut Session<'_>,
) -> Done {
    let is_claimed =
        matches!(&error, ClientError::Remote(remote) if remote.reason() == Some("Claimed"));
    if is_claimed {
        let (claims, pins) = helper.claims().map_err(|error| session.failure(&error))?;
        let is_own =
            |seen: &&SeenClaim| seen.is_of_person(session.uid) && seen.claim.holds(asked.address);
        if let Some(own) = claims.iter().find(is_own) {
            let mut record = already(asked, own);
            record.pinned |= pins.iter().any(|seen| seen.pin.is_held_by(&own.claim));
            if asked.persist && !asked.only_plan {
                let pinned = helper.bind(asked.address, None, true, |_| {});
                let reply = pinned.map_err(|error| session.failure(&error))?;
                record.pinned = reply.pinned.unwrap_or(false);
            }
            session.output.answer(&record)?;
            return Ok(Verdict::Yes);
        }
    }
    Err(session.failure(&error))
}

fn already(asked: Asked, own: &SeenClaim) -> BindRecord {
    let claim = ClaimRecord::of(own);
    BindRecord {
        address: asked.address.to_string(),
        planned: asked.only_plan && asked.persist,
        already: true,
        pinned: asked.persist,
        members: claim.addresses.clone(),
        groups: Vec::new(),
        steps: Vec::new(),
        claim: Some(claim),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_helper::{Outcome, last, more, refused, run};

    const GPU: &str = "0000:01:00.0";

    fn step(text: &str) -> Value {
        json!({"verb": "bind", "address": GPU, "driver": "vfio-pci", "text": text})
    }

    fn plan() -> Value {
        last(json!({"members": [GPU], "groups": [12], "steps": [step("bind it")]}))
    }

    fn claim(uid: u32) -> Value {
        let function = json!({
            "address": GPU, "vendor": 1, "device": 2, "subsystem_vendor": 0, "subsystem_device": 0,
        });
        json!({"owner": {"uid": uid, "user": "ann"}, "functions": [function], "since": 0})
    }

    #[test]
    fn what_the_plan_saw_is_bound_and_each_step_is_told() {
        let replies = vec![
            plan(),
            more(json!({"step": step("set it")})),
            more(json!({"step": step("bind it")})),
            last(json!({"claim": claim(1000)})),
        ];
        let outcome = run(vfioctl_protocol::LEVEL, &["bind", "01:00.0"], replies);
        let expected = Outcome {
            verdict: Verdict::Yes,
            answer: "yours: 0000:01:00.0, since 1970-01-01 00:00:00 UTC\n".into(),
            conversation: "set it\nbind it\n".into(),
            asked: vec![
                ("io.vfioctl.Device.PlanBind".into(), json!({"address": GPU})),
                (
                    "io.vfioctl.Device.Bind".into(),
                    json!({"address": GPU, "members": [GPU]}),
                ),
            ],
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn a_plan_binds_nothing() {
        let outcome = run(
            vfioctl_protocol::LEVEL,
            &["bind", GPU, "--plan"],
            vec![plan()],
        );
        assert_eq!((outcome.verdict, outcome.asked.len()), (Verdict::Yes, 1));
    }

    #[test]
    fn what_is_mine_already_is_done() {
        let uid = rustix::process::geteuid().as_raw();
        let replies = vec![
            refused("Claimed"),
            last(json!({"claims": [claim(uid)], "pins": []})),
        ];
        let outcome = run(vfioctl_protocol::LEVEL, &["bind", GPU], replies);
        assert_eq!(outcome.verdict, Verdict::Yes);
        assert_eq!(
            outcome.answer,
            "already yours: 0000:01:00.0, since 1970-01-01 00:00:00 UTC\n"
        );
    }

    #[test]
    fn what_is_mine_already_is_only_pinned() {
        let uid = rustix::process::geteuid().as_raw();
        let replies = vec![
            refused("Claimed"),
            last(json!({"claims": [claim(uid)], "pins": []})),
            last(json!({"claim": claim(uid), "pinned": true})),
        ];
        let words = ["bind", "--persist", GPU];
        let outcome = run(vfioctl_protocol::LEVEL, &words, replies);
        assert_eq!(outcome.verdict, Verdict::Yes);
        assert_eq!(
            outcome.answer,
            "already yours: 0000:01:00.0, since 1970-01-01 00:00:00 UTC\n\
             pinned: yours after a restart too, until you release it\n"
        );
        let bind = json!({"address": GPU, "persist": true});
        assert_eq!(
            outcome.asked.last(),
            Some(&("io.vfioctl.Device.Bind".into(), bind))
        );
    }

    #[test]
    fn what_is_someone_elses_is_a_clear_no() {
        let uid = rustix::process::geteuid().as_raw() + 1;
        let replies = vec![
            refused("Claimed"),
            last(json!({"claims": [claim(uid)], "pins": []})),
        ];
        let outcome = run(vfioctl_protocol::LEVEL, &["bind", GPU], replies);
        assert_eq!(
            (outcome.verdict, outcome.answer.as_str()),
            (Verdict::No, "")
        );
        assert_eq!(
            outcome.conversation,
            "vfioctl: it cannot be\n  try: do it\n"
        );
    }

    #[test]
    fn an_old_helper_is_asked_for_nothing() {
        let level = vfioctl_protocol::LEVEL - 1;
        let outcome = run(level, &["bind", GPU], Vec::new());
        assert_eq!(
            (outcome.verdict, outcome.asked),
            (Verdict::CouldNot, Vec::new())
        );
    }
}
