//! `vfioctl vm`: virtual machines.

mod create;
mod logs;
mod spec;

use crate::Done;
use crate::command_line::{Stop, VmVerb};
use crate::failure::Failure;
use crate::record::{MachineRecord, MachinesRecord, RemovedRecord, VmRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl vm`.
pub(super) fn run(verb: VmVerb, session: &mut Session<'_>) -> Done {
    match verb {
        VmVerb::Create(arguments) => create::run(&arguments, session),
        VmVerb::List { all } => list(all, session),
        VmVerb::Show { machine } => show(machine.name.as_str(), session),
        VmVerb::Stop(arguments) => stop(&arguments, session),
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

fn stop(arguments: &Stop, session: &mut Session<'_>) -> Done {
    let powerdown = (!arguments.force).then_some(arguments.timeout);
    let mut helper = session.helper()?;
    let done = helper.stop_machine(arguments.machine.name.as_str(), powerdown, |sentence| {
        session.output.progress(&sentence);
    });
    let reply = done.map_err(|error| session.failure(&error))?;
    answer_machine(reply.machine, session)
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
