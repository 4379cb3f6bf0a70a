//! `vfioctl vm`: virtual machines.

mod create;
mod logs;
mod spec;

use crate::Done;
use crate::command_line::{Stop, VmVerb};
use crate::failure::Failure;
use crate::helper::Helper;
use crate::record::{MachineRecord, MachinesRecord, RemovedRecord, VmRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl vm`.
pub(super) fn run(verb: VmVerb, session: &mut Session<'_>) -> Done {
    match verb {
        VmVerb::Create(arguments) => create::run(&arguments, session),
        VmVerb::List { all } => list(all, session),
        VmVerb::Show { machine } => show(machine.name.as_str(), session),
        VmVerb::Start { machine } => start(machine.name.as_str(), session),
        VmVerb::Stop(arguments) => stop(&arguments, session),
        VmVerb::Restart(arguments) => restart(&arguments, session),
        VmVerb::Rm { machine } => remove(machine.name.as_str(), session),
        VmVerb::Logs(arguments) => logs::run(&arguments, session),
    }
}

fn list(all: bool, session: &mut Session<'_>) -> Done {
    let machines = session
        .helper()?
        .machines(all)
        .map_err(|error| session.failure(&error))?;
    if machines.is_empty() {
        let text = match all {
            true => "nobody has a machine",
            false => "you have no machines; 'vfioctl vm list --all' lists those of everyone",
        };
        session.output.progress(text);
    }
    let machines = machines.into_iter().map(MachineRecord::from).collect();
    session
        .output
        .answer(&VmRecord::Many(MachinesRecord { machines }))?;
    Ok(Verdict::Yes)
}

fn show(name: &str, session: &mut Session<'_>) -> Done {
    let machine = session
        .helper()?
        .machine(name)
        .map_err(|error| session.failure(&error))?;
    answer_machine(Some(machine), session)
}

fn start(name: &str, session: &mut Session<'_>) -> Done {
    let helper = session.helper()?;
    start_with(helper, name, session)
}

fn start_with(mut helper: Helper, name: &str, session: &mut Session<'_>) -> Done {
    let done = helper.start_machine(name, |sentence| session.output.progress(&sentence));
    let reply = done.map_err(|error| session.failure(&error))?;
    answer_machine(reply.machine, session)
}

fn stop(arguments: &Stop, session: &mut Session<'_>) -> Done {
    let mut helper = session.helper()?;
    let machine = stop_with(&mut helper, arguments, session)?;
    answer_machine(machine, session)
}

fn stop_with(
    helper: &mut Helper,
    arguments: &Stop,
    session: &mut Session<'_>,
) -> Result<Option<vfioctl_protocol::machine::Info>, Failure> {
    let powerdown = (!arguments.force).then_some(arguments.timeout);
    let done = helper.stop_machine(arguments.machine.name.as_str(), powerdown, |sentence| {
        session.output.progress(&sentence);
    });
    let reply = done.map_err(|error| session.failure(&error))?;
    Ok(reply.machine)
}

/// The helper answers a stop when the devices are home, so that the start takes them anew.
fn restart(arguments: &Stop, session: &mut Session<'_>) -> Done {
    let mut helper = session.helper()?;
    stop_with(&mut helper, arguments, session)?;
    start_with(helper, arguments.machine.name.as_str(), session)
}

fn remove(name: &str, session: &mut Session<'_>) -> Done {
    session
        .helper()?
        .remove_machine(name)
        .map_err(|error| session.failure(&error))?;
    session.output.answer(&VmRecord::Removed(RemovedRecord {
        removed: name.to_owned(),
    }))?;
    Ok(Verdict::Yes)
}

/// Answers with a machine; the last reply of a call has it.
fn answer_machine(
    machine: Option<vfioctl_protocol::machine::Info>,
    session: &mut Session<'_>,
) -> Done {
    let machine = machine.ok_or_else(|| {
        Failure::could_not(
            "HelperNotUnderstood",
            "the helper's answer is not understood: it has no machine",
        )
    })?;
    let machine = Box::new(MachineRecord::from(machine));
    session.output.answer(&VmRecord::One { machine })?;
    Ok(Verdict::Yes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_helper::{last, more, run};

    fn machine(state: &str) -> Value {
        json!({"machine": {
            "name": "m", "uid": 1000, "state": state, "since": 0, "devices_home": [],
            "spec": {
                "name": "m", "memory_mib": 64, "cores": 1, "disks": [], "devices": [],
                "network": "none",
            },
        }})
    }

    #[test]
    fn a_machine_is_started_by_its_name_alone() {
        let replies = vec![
            more(json!({"progress": "starting QEMU"})),
            last(machine("running")),
        ];
        let outcome = run(vfioctl_protocol::LEVEL, &["vm", "start", "m"], replies);
        assert_eq!(outcome.verdict, Verdict::Yes);
        assert_eq!(outcome.conversation, "starting QEMU\n");
        let asked = ("io.vfioctl.Machine.Start".to_owned(), json!({"name": "m"}));
        assert_eq!(outcome.asked, [asked]);
    }

    #[test]
    fn a_restart_stops_first_and_starts_only_what_has_stopped() {
        let words = ["vm", "restart", "m", "--force"];
        let replies = vec![last(machine("stopped")), last(machine("running"))];
        let outcome = run(vfioctl_protocol::LEVEL, &words, replies);
        assert_eq!(outcome.verdict, Verdict::Yes);
        let stop = (
            "io.vfioctl.Machine.Stop".to_owned(),
            json!({"name": "m", "how": "quit"}),
        );
        let start = ("io.vfioctl.Machine.Start".to_owned(), json!({"name": "m"}));
        assert_eq!(outcome.asked, [stop.clone(), start]);
        let failed = json!({
            "error": "io.vfioctl.Machine.Failed",
            "parameters": {"message": "QEMU does not end", "hint": "look", "undone": false},
        });
        let outcome = run(vfioctl_protocol::LEVEL, &words, vec![failed]);
        assert_eq!(
            (outcome.verdict, outcome.asked),
            (Verdict::CouldNot, vec![stop])
        );
    }
}
