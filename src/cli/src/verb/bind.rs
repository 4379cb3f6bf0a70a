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
pub(super) fn run(address: PciAddress, only_plan: bool, session: &mut Session<'_>) -> Done {
    let mut helper = session.helper()?;
    let plan = match helper.plan_bind(address) {
        Ok(plan) => plan,
        Err(error) => return already_or(error, address, &mut helper, session),
    };
    let record = if only_plan {
        planned(address, plan)
    } else {
        bind(address, plan, &mut helper, session)?
    };
    session.output.answer(&record)?;
    Ok(Verdict::Yes)
}

fn planned(address: PciAddress, plan: device::PlanBind_Reply) -> BindRecord {
    BindRecord {
        address: address.to_string(),
        planned: true,
        already: false,
        members: plan.members,
        groups: plan.groups,
        steps: StepRecord::all(plan.steps),
        claim: None,
    }
}

/// Binds what the plan saw, and nothing else.
fn bind(
    address: PciAddress,
    plan: device::PlanBind_Reply,
    helper: &mut Helper,
    session: &mut Session<'_>,
) -> Result<BindRecord, Failure> {
    let mut steps = Vec::new();
    let done = helper.bind(address, plan.members.clone(), |step| {
        session.output.progress(&step.text);
        steps.push(StepRecord::from(step));
    });
    let reply = done.map_err(|error| session.failure(&error))?;
    let claim = reply.claim.as_ref().map(SeenClaim::from_wire).transpose();
    let claim =
        claim.map_err(|error| session.failure(&ClientError::Malformed(error.to_string())))?;
    Ok(BindRecord {
        address: address.to_string(),
        planned: false,
        already: false,
        members: plan.members,
        groups: plan.groups,
        steps,
        claim: claim.as_ref().map(ClaimRecord::of),
    })
}

/// Whoever asks for what they have already has what they want.
fn already_or(
    error: ClientError,
    address: PciAddress,
    helper: &mut Helper,
    session: &mut Session<'_>,
) -> Done {
    let is_claimed =
        matches!(&error, ClientError::Remote(remote) if remote.reason() == Some("Claimed"));
    if is_claimed {
        let claims = helper.claims().map_err(|error| session.failure(&error))?;
        let own = claims
            .iter()
            .find(|seen| seen.is_of_person(session.uid) && seen.claim.holds(address));
        if let Some(own) = own {
            session.output.answer(&already(address, own))?;
            return Ok(Verdict::Yes);
        }
    }
    Err(session.failure(&error))
}

fn already(address: PciAddress, own: &SeenClaim) -> BindRecord {
    let claim = ClaimRecord::of(own);
    BindRecord {
        address: address.to_string(),
        planned: false,
        already: true,
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
        let replies = vec![refused("Claimed"), last(json!({"claims": [claim(uid)]}))];
        let outcome = run(vfioctl_protocol::LEVEL, &["bind", GPU], replies);
        assert_eq!(outcome.verdict, Verdict::Yes);
        assert_eq!(
            outcome.answer,
            "already yours: 0000:01:00.0, since 1970-01-01 00:00:00 UTC\n"
        );
    }

    #[test]
    fn what_is_someone_elses_is_a_clear_no() {
        let uid = rustix::process::geteuid().as_raw() + 1;
        let replies = vec![refused("Claimed"), last(json!({"claims": [claim(uid)]}))];
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
