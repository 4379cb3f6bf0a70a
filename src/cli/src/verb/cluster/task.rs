//! `vfioctl task`: commands in containers.

use std::time::SystemTime;

use vfioctl_api::{Kind, Task, TaskFilter};

use super::progress::{is_over, verdict, wait_until};
use super::submission::{container, submission};
use super::task_log;
use crate::Done;
use crate::cluster::{Host, Look, TaskReference, follow_task};
use crate::command_line::{MachineArgs, Remove, Submit, TaskList, TaskVerb};
use crate::failure::Failure;
use crate::limits;
use crate::print::moment;
use crate::record::{Layout, TaskRecord, TasksRecord};
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl task`.
pub(super) fn run(verb: TaskVerb, host: &Host, session: &mut Session<'_>) -> Done {
    match verb {
        TaskVerb::Submit(arguments) => submit(*arguments, host, session),
        TaskVerb::List(arguments) => list(&arguments, Kind::Command, host, session),
        TaskVerb::Show(one) => show(&one.task, host, session),
        TaskVerb::Logs(arguments) => task_log::run(&arguments, host, session),
        TaskVerb::Kill(one) => {
            let task = host.kill(&one.task)?;
            session.output.answer(&TasksRecord::short(task))?;
            Ok(Verdict::Yes)
        }
        TaskVerb::Wait { tasks } => wait(&tasks, host, session),
        TaskVerb::Rm(arguments) => remove(&arguments, host, session),
        TaskVerb::Watch(one) => watch(&one.task, host, session),
    }
}

fn submit(arguments: Submit, host: &Host, session: &mut Session<'_>) -> Done {
    let backend = container(
        arguments.container,
        &MachineArgs::default(),
        arguments.command,
    )?;
    let submission = submission(Kind::Command, arguments.needs, backend)?;
    let task = host.submit(&submission)?;
    let id = TaskReference::from(&task.id);
    answer_number(&task, arguments.wait, session)?;
    if !arguments.wait {
        return Ok(Verdict::Yes);
    }
    let ended = wait_until(host, &id, None, &mut session.output, is_over)?;
    let verdict = verdict(&ended);
    if session.output.is_json() {
        session.output.answer(&TasksRecord::one(ended))?;
    } else if verdict == Verdict::No {
        session.output.progress(&format!(
            "see 'vfioctl task show {id}', 'vfioctl task logs {id}' and 'vfioctl task logs --stderr {id}'"
        ));
    }
    Ok(verdict)
}

/// Answers with the number of work that was taken, alone on its line so that a script can take it,
/// and tells where it went. Programs get the whole of it, later where they wait.
pub(super) fn answer_number(
    task: &Task,
    is_waited_for: bool,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    if session.output.is_json() {
        return match is_waited_for {
            true => Ok(()),
            false => session.output.answer(&TasksRecord::one(task.clone())),
        };
    }
    session.output.write(format!("{}\n", task.id).as_bytes())?;
    if !is_waited_for {
        session
            .output
            .progress(&TaskRecord::from(task.clone()).sentence());
    }
    Ok(())
}

/// Answers `task list` and `vps list`.
pub(super) fn list(
    arguments: &TaskList,
    kind: Kind,
    host: &Host,
    session: &mut Session<'_>,
) -> Done {
    let owner = match arguments.mine {
        true => Some(host.me()?.user),
        false => None,
    };
    let mut filter = TaskFilter {
        state: arguments.state,
        node: arguments.node.clone(),
        owner,
        kind: Some(kind),
        limit: None,
        before: None,
    };
    let mut tasks: Vec<TaskRecord> = Vec::new();
    let mut more = true;
    let wanted = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    while more && tasks.len() < wanted {
        let left = u32::try_from(wanted - tasks.len()).unwrap_or(u32::MAX);
        filter.limit = Some(left.min(limits::TASKS_A_PAGE));
        let page = host.tasks(&filter)?;
        filter.before = page.tasks.last().map(|task| task.id.clone());
        // Without a last one there is no next page, whatever the host says.
        more = page.more && filter.before.is_some();
        tasks.extend(page.tasks.into_iter().map(TaskRecord::from));
    }
    let what = match kind {
        Kind::Command => "tasks",
        Kind::Vps => "servers",
    };
    if tasks.is_empty() {
        session
            .output
            .progress(&format!("there are no such {what}"));
    }
    let layout = match (arguments.compact, kind) {
        (true, _) => Layout::Compact,
        (false, Kind::Command) => Layout::Commands,
        (false, Kind::Vps) => Layout::Servers,
    };
    session.output.answer(&TasksRecord::Many {
        tasks,
        more,
        layout,
    })?;
    if more {
        session.output.progress(&format!(
            "there are more {what}; '--limit' lists more of them"
        ));
    }
    Ok(Verdict::Yes)
}

/// Answers `task show` and `vps show`.
pub(super) fn show(task: &TaskReference, host: &Host, session: &mut Session<'_>) -> Done {
    let task = host.task(task)?;
    session.output.answer(&TasksRecord::one(task))?;
    Ok(Verdict::Yes)
}

/// Answers `task rm`.
fn remove(arguments: &Remove, host: &Host, session: &mut Session<'_>) -> Done {
    let removed = host.remove_task(&arguments.task.task, arguments.force)?;
    let removed = removed.id.into();
    session.output.answer(&TasksRecord::Removed { removed })?;
    Ok(Verdict::Yes)
}

fn wait(tasks: &[TaskReference], host: &Host, session: &mut Session<'_>) -> Done {
    let mut ended = Vec::new();
    let mut worst = Verdict::Yes;
    for task in tasks {
        let task = follow_task(host, task, None, &mut session.output, |task, _| {
            Ok(if is_over(task) {
                Look::Enough
            } else {
                Look::Again
            })
        })?;
        worst = worst.max(verdict(&task));
        if session.output.is_json() {
            ended.push(TaskRecord::from(task));
        } else {
            session.output.answer(&TasksRecord::short(task))?;
        }
    }
    if session.output.is_json() {
        session.output.answer(&TasksRecord::Many {
            tasks: ended,
            more: false,
            layout: Layout::Compact,
        })?;
    }
    Ok(worst)
}

fn watch(task: &TaskReference, host: &Host, session: &mut Session<'_>) -> Done {
    let is_json = session.output.is_json();
    let mut told = String::new();
    let mut is_heard = true;
    let last = follow_task(host, task, None, &mut session.output, |task, output| {
        let record = TaskRecord::from(task.clone());
        let sentence = record.sentence();
        if is_json {
            is_heard = output.answer_one_of_many(&TasksRecord::one(task.clone()))?;
        } else if sentence != told {
            let line = format!("{}  {}\n", moment(now()), crate::width::plain(&sentence));
            is_heard = output.write(line.as_bytes())?;
            told = sentence;
        }
        Ok(if is_heard && !is_over(task) {
            Look::Again
        } else {
            Look::Enough
        })
    })?;
    Ok(match is_over(&last) {
        true => verdict(&last),
        false => Verdict::Yes,
    })
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
