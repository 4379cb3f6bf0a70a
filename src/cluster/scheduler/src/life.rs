//! The life of a task: what it is after something has happened to it.
//!
//! The rule that everything here serves: **a task is begun once or is reported lost**. A host gives a
//! task to a node (`assign`), and may take it back as long as the node's runner has not taken it up
//! (`accept`). From then on nobody else ever begins it. A runner that vanishes with a task leaves it
//! lost, until it comes back and says what became of it.

use vfioctl_api::{
    Exit, GpuNumber, Kind, Moment, NodeName, Phase, Problem, ProblemCode, TaskState, TaskStatus,
    Wanted,
};

use crate::record::Record;

/// How long a task waits after the first node could not start it; doubled each time.
const FIRST_PAUSE_MS: u64 = 1_000;
/// The longest such pause.
const LONGEST_PAUSE_MS: u64 = 60_000;
/// How often a task is tried before it has failed.
const MAX_FAILED_STARTS: u32 = 8;

/// What a runner's word changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Observed {
    /// Nothing: it is known already, or is about another run.
    Known,
    /// The task is this now.
    Changed(Box<Record>),
    /// Nothing of it is left, and it can be forgotten.
    Gone,
}

/// What is asked for and cannot be.
type Refused = Problem;

/// The task is given to a node.
pub fn assign(record: &Record, node: &NodeName, gpus: &[GpuNumber], now: Moment) -> Record {
    let mut record = record.clone();
    record.wanted = Wanted::Run;
    record.runner = None;
    let task = &mut record.task;
    task.state = TaskState::Assigned;
    task.node = Some(node.clone());
    task.gpus = gpus.to_vec();
    task.run += 1;
    task.assigned = Some(now);
    (task.started, task.ended, task.exit) = (None, None, None);
    (task.reason, task.progress, task.ssh) = (None, None, None);
    record
}

/// A runner would take the task up. `None`: it must not begin.
pub fn accept(record: &Record, node: &NodeName, run: u32, runner: &str) -> Option<Record> {
    let task = &record.task;
    if task.node.as_ref() != Some(node) || task.run != run {
        return None;
    }
    match task.state {
        TaskState::Assigned if record.wanted == Wanted::Run => {
            let mut record = record.clone();
            record.task.state = TaskState::Starting;
            record.runner = Some(runner.to_owned());
            Some(record)
        }
        // Its answer was lost, and it asks again.
        TaskState::Starting if record.runner.as_deref() == Some(runner) => Some(record.clone()),
        _ => None,
    }
}

/// A runner tells how a task goes.
pub fn observe(record: &Record, node: &NodeName, status: &TaskStatus, now: Moment) -> Observed {
    let task = &record.task;
    if task.node.as_ref() != Some(node) || task.run != status.run {
        return Observed::Known;
    }
    if status.phase == Phase::Removed {
        return match record.wanted {
            Wanted::Remove => Observed::Gone,
            Wanted::Run | Wanted::Stop | Wanted::Kill => Observed::Known,
        };
    }
    if task.state.is_over() || task.state == TaskState::Queued {
        return Observed::Known;
    }
    let changed = apply(record, status, now);
    if changed == *record {
        Observed::Known
    } else {
        Observed::Changed(Box::new(changed))
    }
}

fn apply(record: &Record, status: &TaskStatus, now: Moment) -> Record {
    let mut changed = record.clone();
    let is_ending = record.wanted != Wanted::Run;
    let task = &mut changed.task;
    match &status.phase {
        Phase::Accepted => {
            // It says so before it asks, too.
            if task.state == TaskState::Lost {
                task.state = TaskState::Starting;
                task.reason = None;
            }
        }
        // Told late, on a connection slower than another that said it runs.
        Phase::Starting { .. } if task.state == TaskState::Running => {}
        Phase::Starting { progress } => {
            task.state = if is_ending {
                TaskState::Stopping
            } else {
                TaskState::Starting
            };
            task.reason = None;
            task.progress = Some(progress.clone());
        }
        Phase::Running { progress, ssh } => {
            task.state = if is_ending {
                TaskState::Stopping
            } else {
                TaskState::Running
            };
            task.reason = None;
            // What it was waiting for matters to nobody who has it stopped.
            task.progress = progress.clone().filter(|_| !is_ending);
            task.ssh.clone_from(ssh);
            task.started = task.started.or(Some(now));
        }
        Phase::Exited(exit) => end(
            &mut changed,
            exit_state(record, *exit),
            Some(*exit),
            exit_reason(record, *exit),
            now,
        ),
        Phase::Stopped => end(&mut changed, ended_state(record), None, None, now),
        Phase::Killed => end(&mut changed, ended_state(record), None, None, now),
        Phase::NotStarted { reason, may_retry } => {
            not_started(&mut changed, reason, *may_retry, now)
        }
        Phase::Vanished { reason } => {
            let state = match (is_ending, record.task.submission.kind) {
                (true, _) => ended_state(record),
                // What it wrote to its disk is kept, and it can be started again.
                (false, Kind::Vps) if record.task.submission.is_machine() => TaskState::Stopped,
                (false, _) => TaskState::Failed,
            };
            end(&mut changed, state, None, Some(reason.clone()), now);
        }
        Phase::Removed => {}
    }
    changed
}

fn end(
    record: &mut Record,
    state: TaskState,
    exit: Option<Exit>,
    reason: Option<String>,
    now: Moment,
) {
    let task = &mut record.task;
    task.state = state;
    task.exit = exit;
    task.reason = reason;
    task.ended = Some(now);
    (task.progress, task.ssh) = (None, None);
    record.runner = None;
}

/// What becomes of a task that ended by itself.
fn exit_state(record: &Record, exit: Exit) -> TaskState {
    match (record.wanted, record.task.submission.kind) {
        (Wanted::Stop | Wanted::Kill | Wanted::Remove, _) => ended_state(record),
        _ if exit.out_of_memory => TaskState::OutOfMemory,
        // A server that powered itself off can be started again.
        (_, Kind::Vps) => TaskState::Stopped,
        (_, Kind::Command) if exit.status == 0 => TaskState::Completed,
        (_, Kind::Command) => TaskState::Failed,
    }
}

fn exit_reason(record: &Record, exit: Exit) -> Option<String> {
    match record.wanted {
        Wanted::Stop | Wanted::Kill | Wanted::Remove => None,
        _ if exit.out_of_memory => Some("it used more memory than it was given".into()),
        _ if record.task.submission.kind == Kind::Vps => {
            Some(format!("it ended by itself, with status {}", exit.status))
        }
        _ if exit.status == 0 => None,
        _ => Some(format!("it ended with status {}", exit.status)),
    }
}

/// What becomes of a task that was ended.
fn ended_state(record: &Record) -> TaskState {
    match record.task.submission.kind {
        Kind::Vps => TaskState::Stopped,
        Kind::Command => TaskState::Killed,
    }
}

fn not_started(record: &mut Record, reason: &str, may_retry: bool, now: Moment) {
    let is_first_run = record.task.run <= 1;
    let is_server = record.task.submission.kind == Kind::Vps;
    if record.wanted != Wanted::Run {
        let state = ended_state(record);
        return end(record, state, None, None, now);
    }
    record.failed_starts += 1;
    // A server has its disk on its node, so it goes nowhere else.
    if may_retry && !is_server && record.failed_starts < MAX_FAILED_STARTS {
        return back_to_queue(record, reason, now);
    }
    let state = if is_server && !is_first_run {
        TaskState::Stopped
    } else {
        TaskState::Failed
    };
    end(record, state, None, Some(reason.to_owned()), now);
}

fn back_to_queue(record: &mut Record, reason: &str, now: Moment) {
    let doublings = record.failed_starts.saturating_sub(1).min(16);
    let pause = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
    record.not_before = now + pause;
    record.runner = None;
    let task = &mut record.task;
    task.state = TaskState::Queued;
    task.reason = Some(reason.to_owned());
    (task.progress, task.ssh, task.node) = (None, None, None);
    task.gpus.clear();
}

/// The node of the task is gone. `None`: that changes nothing.
pub fn node_gone(record: &Record, now: Moment) -> Option<Record> {
    let mut record = record.clone();
    let node = record.task.node.clone()?;
    match record.task.state {
        // Its runner has not taken it up, and now it never will: accepting is a conflict.
        TaskState::Assigned if record.task.submission.kind == Kind::Command => {
            back_to_queue(
                &mut record,
                &format!("node '{node}' went offline before it began"),
                now,
            );
            record.not_before = 0;
        }
        TaskState::Assigned => {
            let is_first_run = record.task.run <= 1;
            let state = if is_first_run {
                TaskState::Failed
            } else {
                TaskState::Stopped
            };
            let reason = format!("node '{node}' went offline before it began");
            end(&mut record, state, None, Some(reason), now);
        }
        TaskState::Starting | TaskState::Running | TaskState::Stopping => {
            record.task.state = TaskState::Lost;
            record.task.reason = Some(format!(
                "node '{node}' is offline; whether the task still runs there is not known"
            ));
            record.task.progress = None;
        }
        _ => return None,
    }
    Some(record)
}

/// The runner of the task's node has come back and has no trace of it. `None`: that is as it should
/// be.
///
/// A runner writes a task down before it takes it up, so where there is no trace, all that it wrote is
/// gone: a new disk, a new machine of the old name.
pub fn no_trace(record: &Record, now: Moment) -> Option<Record> {
    match record.task.state {
        TaskState::Starting | TaskState::Running | TaskState::Stopping | TaskState::Lost => {}
        _ => return None,
    }
    let mut record = record.clone();
    let node = record
        .task
        .node
        .clone()
        .map_or_else(String::new, |node| node.to_string());
    let reason = format!("node '{node}' came back without any trace of it");
    end(&mut record, TaskState::Failed, None, Some(reason), now);
    Some(record)
}

/// Somebody ends the task at once.
///
/// # Errors
/// Where it is over.
pub fn kill(record: &Record, now: Moment) -> Result<Record, Refused> {
    let mut changed = record.clone();
    match record.task.state {
        TaskState::Queued | TaskState::Assigned => {
            let state = if record.task.run <= 1 {
                TaskState::Killed
            } else {
                ended_state(record)
            };
            end(&mut changed, state, None, None, now);
            changed.wanted = changed.wanted.max(Wanted::Kill);
        }
        TaskState::Starting | TaskState::Running | TaskState::Stopping => {
            changed.wanted = changed.wanted.max(Wanted::Kill);
            changed.task.state = TaskState::Stopping;
            changed.task.progress = None;
        }
        TaskState::Lost => {
            changed.wanted = changed.wanted.max(Wanted::Kill);
            changed.task.reason =
                Some("its node is offline; it will be ended when that is back".into());
        }
        state => return Err(wrong_state(record, state, "is over already")),
    }
    Ok(changed)
}

/// Somebody stops a server; what it wrote is kept.
///
/// # Errors
/// Where it is no server, or does not run.
pub fn stop(record: &Record) -> Result<Record, Refused> {
    if record.task.submission.kind != Kind::Vps {
        let problem = Problem::new(
            ProblemCode::WrongState,
            format!(
                "task '{}' is a command, and a command cannot be stopped",
                record.task.id
            ),
        );
        return Err(problem.hint(format!(
            "end it with 'vfioctl task kill {}'",
            record.task.id
        )));
    }
    match record.task.state {
        TaskState::Starting | TaskState::Running => {
            let mut changed = record.clone();
            changed.wanted = Wanted::Stop;
            changed.task.state = TaskState::Stopping;
            changed.task.progress = None;
            Ok(changed)
        }
        TaskState::Stopping => Ok(record.clone()),
        state => Err(wrong_state(record, state, "does not run")),
    }
}

/// Whether a server can be started again.
///
/// # Errors
/// Where it is none, or has not been stopped.
pub fn check_start(record: &Record) -> Result<(), Refused> {
    match (
        record.task.submission.kind,
        record.task.state,
        record.wanted,
    ) {
        (Kind::Vps, TaskState::Stopped, Wanted::Remove) => {
            Err(wrong_state(record, TaskState::Stopped, "is being removed"))
        }
        (Kind::Vps, TaskState::Stopped, _) => Ok(()),
        (_, state, _) => Err(wrong_state(record, state, "is no server that was stopped")),
    }
}

/// Somebody wants nothing of the task to be left. `None`: nothing is, and it can be forgotten.
///
/// # Errors
/// Where it is not over.
pub fn remove(record: &Record) -> Result<Option<Record>, Refused> {
    if !record.task.state.is_over() {
        let problem = wrong_state(record, record.task.state, "is not over");
        let hint = format!("end it first with 'vfioctl task kill {}'", record.task.id);
        return Err(problem.hint(hint));
    }
    // It never had a node that took it up.
    if record.task.node.is_none() {
        return Ok(None);
    }
    let mut changed = record.clone();
    changed.wanted = Wanted::Remove;
    Ok(Some(changed))
}

fn wrong_state(record: &Record, state: TaskState, why: &str) -> Problem {
    let id = &record.task.id;
    Problem::new(
        ProblemCode::WrongState,
        format!("task '{id}' {why}: it is {state}"),
    )
    .hint(format!("see 'vfioctl task show {id}'"))
}

#[cfg(test)]
mod tests;
