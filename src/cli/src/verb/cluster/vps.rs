//! `vfioctl vps`: servers that stay, in containers and in machines.

use vfioctl_api::{Kind, SshRequest, Task, TaskState};

use super::progress::{self, is_over, wait_until};
use super::ssh_keys::Keys;
use super::submission::{check, container, machine, submission};
use super::{ssh, task, task_log};
use crate::Done;
use crate::cluster::{Host, Places, TaskReference};
use crate::command_line::{BackendArgument, Remove, VpsCreate, VpsVerb};
use crate::failure::Failure;
use crate::limits;
use crate::record::TasksRecord;
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl vps`.
pub(super) fn run(verb: VpsVerb, host: &Host, session: &mut Session<'_>) -> Done {
    let places = Places::live();
    match verb {
        VpsVerb::Create(arguments) => create(*arguments, &places, host, session),
        VpsVerb::List(arguments) => task::list(&arguments, Kind::Vps, host, session),
        VpsVerb::Show(one) => task::show(&one.task, host, session),
        VpsVerb::Stop { task, wait } => {
            let stopping = host.stop(&task.task)?;
            match wait {
                true => {
                    let stopped = wait_for_stop(&TaskReference::from(&stopping.id), host, session)?;
                    let verdict = progress::verdict(&stopped);
                    answer(stopped, verdict, session)
                }
                false => answer(stopping, Verdict::Yes, session),
            }
        }
        VpsVerb::Start { task, wait } => start(&task.task, wait, host, session),
        VpsVerb::Restart { task, wait } => restart(&task.task, wait, host, session),
        VpsVerb::Rm(arguments) => remove(&arguments, &places, host, session),
        VpsVerb::Logs(arguments) => task_log::run(&arguments, host, session),
        VpsVerb::Ssh(arguments) => ssh::run(&arguments, &places, host, session),
    }
}

fn create(arguments: VpsCreate, places: &Places, host: &Host, session: &mut Session<'_>) -> Done {
    let mut needs = arguments.needs;
    let backend = match arguments.backend {
        BackendArgument::Container => {
            container(arguments.container, &arguments.machine, Vec::new())?
        }
        BackendArgument::Machine => {
            let (backend, memory) = machine(arguments.machine, &arguments.container)?;
            needs.memory = needs.memory.or(memory);
            backend
        }
    };
    // What makes no sense is told before a key is made for it.
    let mut asked = submission(Kind::Vps, needs, backend)?;
    let is_machine = asked.is_machine();
    let keys = Keys::find(&arguments.keys, is_machine, places)?;
    asked.ssh = keys.allowed().map(|keys| SshRequest { keys });
    check(&asked)?;
    let task = host.submit(&asked)?;
    if let Some(path) = keys.keep(task.id.as_str(), places)? {
        let text = format!("the key for it is '{}'", path.display());
        session.output.progress(&text);
    }
    task::answer_number(&task, arguments.wait, session)?;
    if !arguments.wait {
        return Ok(Verdict::Yes);
    }
    let ready = wait_until_ready(&TaskReference::from(&task.id), host, session)?;
    let verdict = verdict(&ready);
    match session.output.is_json() {
        true => session.output.answer(&TasksRecord::one(ready))?,
        false => tell_way_in(&ready, session),
    }
    Ok(verdict)
}

fn tell_way_in(ready: &Task, session: &mut Session<'_>) {
    if ready.ssh.is_some() {
        session
            .output
            .progress(&format!("it answers: 'vfioctl vps ssh {}'", ready.id));
    }
}

/// Whether a server can be used: it runs, and answers where it is to be reached.
fn is_ready(task: &Task) -> bool {
    task.state == TaskState::Running && (task.submission.ssh.is_none() || task.ssh.is_some())
}

/// Waits until a server can be used, or never will be. Pinning the memory of a machine and fetching
/// an image take as long as they take; its node ends what hangs, and says so.
fn wait_until_ready(
    task: &TaskReference,
    host: &Host,
    session: &mut Session<'_>,
) -> Result<Task, Failure> {
    wait_until(host, task, None, &mut session.output, |task| {
        is_ready(task) || is_over(task)
    })
}

fn wait_for_stop(
    task: &TaskReference,
    host: &Host,
    session: &mut Session<'_>,
) -> Result<Task, Failure> {
    wait_until(host, task, Some(limits::STOP), &mut session.output, is_over)
}

fn verdict(ready: &Task) -> Verdict {
    match is_ready(ready) {
        true => Verdict::Yes,
        false => Verdict::No,
    }
}

fn answer(task: Task, verdict: Verdict, session: &mut Session<'_>) -> Done {
    session.output.answer(&TasksRecord::short(task))?;
    Ok(verdict)
}

fn start(task: &TaskReference, wait: bool, host: &Host, session: &mut Session<'_>) -> Done {
    let started = host.start(task)?;
    if !wait {
        return answer(started, Verdict::Yes, session);
    }
    let ready = wait_until_ready(&TaskReference::from(&started.id), host, session)?;
    let verdict = verdict(&ready);
    tell_way_in(&ready, session);
    answer(ready, verdict, session)
}

fn restart(task: &TaskReference, wait: bool, host: &Host, session: &mut Session<'_>) -> Done {
    let now = host.task(task)?;
    // By number from here on: a name may mean another one once this has stopped.
    let id = TaskReference::from(&now.id);
    if now.state != TaskState::Stopped {
        host.stop(&id)?;
        wait_for_stop(&id, host, session)?;
    }
    start(&id, wait, host, session)
}

fn remove(arguments: &Remove, places: &Places, host: &Host, session: &mut Session<'_>) -> Done {
    let removed = host.remove_task(&arguments.task.task, arguments.force)?;
    ssh::forget(removed.id.as_str(), places);
    let removed = removed.id.into();
    session.output.answer(&TasksRecord::Removed { removed })?;
    Ok(Verdict::Yes)
}

#[cfg(test)]
mod tests;
