//! `vfioctl vm create`: makes a machine and starts it.

use std::time::Duration;

use vfioctl_protocol::wire;

use super::answer_machine;
use super::spec::read_spec;
use crate::Done;
use crate::command_line::Create;
use crate::record::{MachinePlanRecord, VmRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl vm create`. The plan is always made first: it says how long to wait.
pub(super) fn run(arguments: &Create, session: &mut Session<'_>) -> Done {
    let spec = wire::spec(&read_spec(arguments, session)?);
    let mut helper = session.helper()?;
    let plan = helper
        .plan_machine(spec.clone())
        .map_err(|error| session.failure(&error))?;
    if arguments.plan {
        let plan = MachinePlanRecord {
            steps: plan.steps,
            arguments: plan.arguments,
            start_timeout_s: plan.start_timeout_s,
        };
        session.output.answer(&VmRecord::Plan { plan })?;
        return Ok(Verdict::Yes);
    }
    let start = Duration::from_secs(u64::try_from(plan.start_timeout_s).unwrap_or_default());
    let done = helper.create_machine(spec, start, |sentence| session.output.progress(&sentence));
    let reply = done.map_err(|error| session.failure(&error))?;
    answer_machine(reply.machine, session)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_helper::{last, more, run};

    fn info() -> Value {
        json!({
            "name": "m", "uid": 1000, "state": "running", "since": 0, "devices_home": [],
            "spec": {
                "name": "m", "memory_mib": 64, "cores": 1, "disks": [], "devices": [],
                "network": "none",
            },
        })
    }

    #[test]
    fn a_machine_is_planned_then_made_and_its_progress_told() {
        let words = ["vm", "create", "m", "--memory", "64", "--kernel", "/k"];
        let replies = vec![
            last(json!({"arguments": [], "steps": [], "start_timeout_s": 5})),
            more(json!({"progress": "starting QEMU"})),
            last(json!({"machine": info()})),
        ];
        let outcome = run(vfioctl_protocol::LEVEL, &words, replies);
        assert_eq!(
            (outcome.verdict, outcome.conversation.as_str()),
            (Verdict::Yes, "starting QEMU\n")
        );
        let methods: Vec<&str> = outcome
            .asked
            .iter()
            .map(|(method, _)| method.as_str())
            .collect();
        assert_eq!(
            methods,
            ["io.vfioctl.Machine.Plan", "io.vfioctl.Machine.Create"]
        );
        let kernel = outcome
            .asked
            .first()
            .map(|(_, asked)| asked["spec"]["kernel"]["image"].clone());
        assert_eq!(kernel, Some(json!("/k")));
    }

    #[test]
    fn an_answer_without_a_machine_is_not_understood() {
        let outcome = run(
            vfioctl_protocol::LEVEL,
            &["vm", "create", "m", "--memory", "64", "--kernel", "/k"],
            vec![
                last(json!({"arguments": [], "steps": [], "start_timeout_s": 5})),
                last(json!({})),
            ],
        );
        assert_eq!(outcome.verdict, Verdict::CouldNot);
    }
}
