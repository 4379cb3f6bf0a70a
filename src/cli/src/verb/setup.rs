//! `vfioctl setup`: makes this machine fit, and undoes that. The one verb that wants root itself:
//! the helper edits no configuration and runs no program.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;

use clap::Args;
use vfioctl_core::Answer;
use vfioctl_core::iommu::GroupIndex;
use vfioctl_setup::{
    Error, ErrorKind, Facts, LivePrograms, Machine, RunProgram, apply, apply_undo, plan, plan_undo,
    read_facts,
};

use crate::Done;
use crate::failure::{Failure, FailureKind};
use crate::output::Output;
use crate::record::SetupRecord;
use crate::seen;
use crate::session::Session;
use crate::verdict::Verdict;

/// What is asked of `vfioctl setup`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SetupArgs {
    /// Print the steps; change nothing.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Do not ask; for scripts.
    #[arg(long, conflicts_with = "plan")]
    pub(crate) yes: bool,
    /// Bring every file back as it was; one that somebody has edited since is left and named.
    #[arg(long)]
    pub(crate) undo: bool,
}

/// Who asks, and how they can be asked back.
struct Caller<'a> {
    is_root: bool,
    /// Asks for a line; `None` without a terminal.
    ask: Option<&'a mut dyn FnMut() -> io::Result<String>>,
}

/// Answers `vfioctl setup`. What is left to be done by hand makes it a no.
pub(super) fn run(arguments: &SetupArgs, session: &mut Session<'_>) -> Done {
    let machine = look(session)?;
    let mut ask = || {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    };
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    let mut caller = Caller {
        is_root: session.uid == 0,
        ask: match is_terminal {
            true => Some(&mut ask),
            false => None,
        },
    };
    let mut programs = LivePrograms;
    let output = &mut session.output;
    answer(
        arguments,
        Path::new("/"),
        machine,
        &mut caller,
        &mut programs,
        output,
    )
}

fn look(session: &Session<'_>) -> Result<Machine, Failure> {
    let host = vfioctl_scan::host::read_host(&session.root()?);
    let snapshot = seen::look(session)?.snapshot;
    let is_hidden = snapshot.functions.is_empty() && !snapshot.problems.is_empty();
    Ok(Machine {
        vendor: host.cpu.map(|cpu| cpu.vendor),
        command_line: host.command_line,
        kernel_release: host.kernel_release,
        is_iommu_on: match is_hidden {
            true => Answer::CannotSee,
            false => Answer::Known(GroupIndex::of(&snapshot).groups().next().is_some()),
        },
        vfio_pci: host.modules.vfio_pci,
    })
}

fn answer(
    arguments: &SetupArgs,
    root: &Path,
    machine: Machine,
    caller: &mut Caller<'_>,
    programs: &mut dyn RunProgram,
    output: &mut Output<'_>,
) -> Done {
    let facts = read_facts(root, machine).map_err(|error| cannot_read(&error, caller))?;
    match arguments.undo {
        true => undo(arguments, root, &facts, caller, programs, output),
        false => set_up(arguments, root, &facts, caller, programs, output),
    }
}

fn set_up(
    arguments: &SetupArgs,
    root: &Path,
    facts: &Facts,
    caller: &mut Caller<'_>,
    programs: &mut dyn RunProgram,
    output: &mut Output<'_>,
) -> Done {
    let plan = plan(facts);
    let mut record = SetupRecord::of_plan(&plan);
    if !arguments.plan {
        if !plan.is_empty() {
            permit(arguments, &record, caller, output)?;
            apply(root, &plan, programs, &mut |text| output.progress(text)).map_err(|error| {
                failed(&error).hint(
                    "run 'sudo vfioctl setup' again to go on from here, or 'sudo vfioctl setup \
                     --undo' to bring everything back",
                )
            })?;
        }
        record.planned = false;
    }
    output.answer(&record)?;
    Ok(match record.by_hand.is_empty() {
        true => Verdict::Yes,
        false => Verdict::No,
    })
}

fn undo(
    arguments: &SetupArgs,
    root: &Path,
    facts: &Facts,
    caller: &mut Caller<'_>,
    programs: &mut dyn RunProgram,
    output: &mut Output<'_>,
) -> Done {
    let plan = plan_undo(root, facts).map_err(|error| cannot_read(&error, caller))?;
    let mut record = SetupRecord::of_undo(&plan);
    if !arguments.plan {
        if !record.steps.is_empty() {
            permit(arguments, &record, caller, output)?;
        }
        // Without a step there may be entries of files that are back already.
        if caller.is_root {
            apply_undo(root, &plan, programs, &mut |text| output.progress(text)).map_err(
                |error| {
                    failed(&error).hint("run 'sudo vfioctl setup --undo' again to go on from here")
                },
            )?;
        }
        record.planned = false;
    }
    output.answer(&record)?;
    Ok(match record.left.is_empty() {
        true => Verdict::Yes,
        false => Verdict::No,
    })
}

/// Lets through who may change the machine and wants to, having seen how.
fn permit(
    arguments: &SetupArgs,
    record: &SetupRecord,
    caller: &mut Caller<'_>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let verb = if arguments.undo {
        "setup --undo"
    } else {
        "setup"
    };
    if !caller.is_root {
        return Err(
            Failure::could_not("NotRoot", "only root can change the configuration").hint(format!(
                "run 'sudo vfioctl {verb}'; 'vfioctl {verb} --plan' shows what it would do"
            )),
        );
    }
    if arguments.yes {
        return Ok(());
    }
    let Some(ask) = caller.ask.as_mut().filter(|_| !output.is_json()) else {
        return Err(
            Failure::could_not("NotAsked", "nobody can be asked whether to go on")
                .because(match output.is_json() {
                    true => "the answer is for a program",
                    false => "there is no terminal",
                })
                .hint(format!(
                    "add '--yes' to go on without being asked, or see 'vfioctl {verb} --plan'"
                )),
        );
    };
    output.say(&record.steps_text());
    output.say("type 'yes' to take these steps: ");
    let line = ask().map_err(|error| {
        Failure::could_not("NotAsked", "cannot read the answer from the terminal")
            .because(error.to_string())
    })?;
    match line.trim() {
        "yes" => Ok(()),
        _ => Err(Failure::new(
            FailureKind::No,
            "Declined",
            "the answer was not 'yes'; nothing was changed",
        )),
    }
}

fn failed(error: &Error) -> Failure {
    let name = match error.kind() {
        ErrorKind::File => "Failed",
        ErrorKind::Changed => "Changed",
        ErrorKind::Busy => "Busy",
        ErrorKind::Record => "RecordBroken",
        ErrorKind::Program => "ProgramFailed",
    };
    Failure::could_not(name, error.to_string()).caused_by(error)
}

fn cannot_read(error: &Error, caller: &Caller<'_>) -> Failure {
    match error.kind() {
        ErrorKind::Record => failed(error).hint(
            "look at the file; the copies of what was edited lie beside it, as N.before and N.after",
        ),
        _ => Failure::could_not("CannotRead", error.to_string())
            .caused_by(error)
            .hint(match caller.is_root {
                true => "look at the file; mend or move it",
                false => "run it with sudo",
            }),
    }
}

#[cfg(test)]
mod tests;
