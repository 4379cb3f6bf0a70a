//! Tasks: looked at, ended, started again.

use tokio::sync::broadcast;
use vfioctl_api::{
    Change, GpuNumber, NodeName, Page, Problem, ProblemCode, Submission, Task, TaskFilter, TaskId,
    TaskState, Wanted,
};
use vfioctl_scheduler::{Decision, Demand, Placement, Record, life, place};

use super::draft::Draft;
use super::{Caller, Cluster};
use crate::limits::{MAX_PAGE, PAGE};

/// Places of a transaction that an operation on one task takes: the task and its node's allocation,
/// each read and written; and the allocation of another node that it leaves.
pub(super) const ONE_TASK: usize = 6;

impl Cluster {
    /// Ends a task at once.
    ///
    /// # Errors
    /// Where there is none, it is over, or the caller may not.
    pub async fn kill(&self, caller: Caller, task: &str) -> Result<Task, Problem> {
        self.change(caller, task, |record, now| {
            life::kill(record, now).map(Some)
        })
        .await
    }

    /// Stops a server.
    ///
    /// # Errors
    /// Where there is none, it does not run, or the caller may not.
    pub async fn stop(&self, caller: Caller, task: &str) -> Result<Task, Problem> {
        self.change(caller, task, |record, _| life::stop(record).map(Some))
            .await
    }

    /// Forgets a task that is over, with all that is left of it on its node. With `force`, it is
    /// ended first, and forgotten without its node where that is gone.
    ///
    /// # Errors
    /// Where there is none, it is not over, or the caller may not.
    pub async fn remove(&self, caller: Caller, task: &str, force: bool) -> Result<Task, Problem> {
        let before = self.task(task)?;
        let id = before.id.clone();
        let remove = move |draft: &mut Draft<'_>, now| {
            if draft.task(&id).is_none() {
                // Removed before, when the answer was lost; or by somebody else, at this moment.
                return check_may_change(&before, &caller).map(|()| before.clone());
            }
            let record = find(draft, &id, &caller)?.clone();
            let node = record
                .task
                .node
                .as_ref()
                .and_then(|node| draft.state().nodes.get(node));
            let is_away = node.is_none_or(|node| node.alive.is_none());
            if force && is_away {
                draft.remove(&id);
                return Ok(record.task);
            }
            let record = if force && !record.task.state.is_over() {
                life::kill(&record, now)?
            } else {
                record
            };
            let changed = if force && !record.task.state.is_over() {
                // The runner ends what it is told to remove.
                Some(Record {
                    wanted: Wanted::Remove,
                    ..record.clone()
                })
            } else {
                life::remove(&record)?
            };
            match changed {
                Some(changed) => draft.put(changed, None),
                None => draft.remove(&id),
            }
            Ok(record.task)
        };
        self.ledger.run(ONE_TASK, remove).await
    }

    /// Starts a server that was stopped, on its own node.
    ///
    /// # Errors
    /// Where there is none, it was not stopped, its GPUs are taken, or the caller may not.
    pub async fn start(&self, caller: Caller, task: &str) -> Result<Task, Problem> {
        let id = self.resolve(task)?;
        let before = self.task(task)?.run;
        let start = move |draft: &mut Draft<'_>, now| {
            let record = find(draft, &id, &caller)?.clone();
            if record.task.run == before + 1 && !record.task.state.is_over() {
                // Written before, when the answer was lost.
                return Ok(record.task);
            }
            life::check_start(&record)?;
            let placement = place_again(draft, &record)?;
            Ok(give(draft, &record, placement, now))
        };
        self.ledger.run(ONE_TASK, start).await
    }

    async fn change(
        &self,
        caller: Caller,
        task: &str,
        change: impl Fn(&Record, u64) -> Result<Option<Record>, Problem> + Send + 'static,
    ) -> Result<Task, Problem> {
        let id = self.resolve(task)?;
        let operation = move |draft: &mut Draft<'_>, now| {
            let record = find(draft, &id, &caller)?;
            let Some(changed) = change(record, now)? else {
                return Ok(record.task.clone());
            };
            let task = changed.task.clone();
            draft.put(changed, None);
            Ok(task)
        };
        self.ledger.run(ONE_TASK, operation).await
    }

    /// A task, by its number, the beginning of it, or its name.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub fn task(&self, task: &str) -> Result<Task, Problem> {
        let id = self.resolve(task)?;
        let state = self.mirror.read();
        let kept = state.tasks.get(&id).ok_or_else(|| not_found(task))?;
        Ok(kept.value.task.clone())
    }

    /// The number of a task that is named by it, by the beginning of it, or by its name; of several
    /// with one name, the one that is not over.
    pub(crate) fn resolve(&self, task: &str) -> Result<TaskId, Problem> {
        /// The least that a beginning has: with less, a slip of the finger means another task.
        const LEAST: usize = 4;
        let state = self.mirror.read();
        if let Some(id) = task.parse().ok().filter(|id| state.tasks.contains_key(id)) {
            return Ok(id);
        }
        let begins = |id: &TaskId| task.len() >= LEAST && id.as_str().starts_with(task);
        let is_called = |record: &Record| {
            let name = record.task.submission.name.as_ref();
            name.is_some_and(|name| name.as_str() == task)
        };
        let named: Vec<&Record> = state
            .tasks
            .iter()
            .filter(|(id, kept)| begins(id) || is_called(&kept.value))
            .map(|(_, kept)| &kept.value)
            .collect();
        let going: Vec<&&Record> = named
            .iter()
            .filter(|record| !record.task.state.is_over())
            .collect();
        match (named.as_slice(), going.as_slice()) {
            ([only], _) => Ok(only.task.id.clone()),
            (_, [only]) => Ok(only.task.id.clone()),
            ([], _) => Err(not_found(task)),
            (many, _) => {
                let ids: Vec<&str> = many
                    .iter()
                    .take(4)
                    .map(|record| record.task.id.as_str())
                    .collect();
                let message = format!(
                    "'{}' means {} tasks, as {}",
                    task.escape_debug(),
                    many.len(),
                    ids.join(", ")
                );
                Err(Problem::new(ProblemCode::Ambiguous, message).hint("name one by its number"))
            }
        }
    }

    /// Tasks, the latest first.
    pub fn tasks(&self, filter: &TaskFilter) -> Page {
        let limit = usize::try_from(filter.limit.unwrap_or(PAGE).min(MAX_PAGE)).unwrap_or(1);
        let state = self.mirror.read();
        let is_wanted = |task: &&Task| {
            filter.state.is_none_or(|state| task.state == state)
                && filter
                    .node
                    .as_ref()
                    .is_none_or(|node| task.node.as_ref() == Some(node))
                && filter
                    .owner
                    .as_ref()
                    .is_none_or(|owner| task.owner == *owner)
                && filter.kind.is_none_or(|kind| task.submission.kind == kind)
                && filter
                    .before
                    .as_ref()
                    .is_none_or(|before| task.id < *before)
        };
        let mut found = state
            .tasks
            .values()
            .rev()
            .map(|kept| &kept.value.task)
            .filter(is_wanted);
        let tasks: Vec<Task> = found.by_ref().take(limit).cloned().collect();
        Page {
            tasks,
            more: found.next().is_some(),
        }
    }

    /// Tells every change of a task, or of all tasks, from now on.
    pub(crate) fn watch(&self, only: Option<TaskId>) -> TaskEvents {
        TaskEvents {
            changes: self.mirror.watch_tasks(),
            cluster: self.clone(),
            only,
        }
    }

    /// A task as it is now, with its revision.
    pub(crate) fn task_change(&self, id: &TaskId) -> Option<Change> {
        let state = self.mirror.read();
        let kept = state.tasks.get(id)?;
        Some(Change {
            revision: kept.revision,
            task: kept.value.task.clone(),
        })
    }
}

/// Changes of tasks, as they happen.
#[derive(Debug)]
pub(crate) struct TaskEvents {
    changes: broadcast::Receiver<TaskId>,
    cluster: Cluster,
    only: Option<TaskId>,
}

/// What a stream of events has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    /// A task is this now.
    Changed(Box<Change>),
    /// A task is no longer known.
    Forgotten(TaskId),
    /// Some were missed; everything has to be looked at anew.
    Missed,
}

impl TaskEvents {
    /// The next change; none: the host is ending.
    pub(crate) async fn next(&mut self) -> Option<TaskEvent> {
        loop {
            match self.changes.recv().await {
                Ok(id) if self.only.as_ref().is_some_and(|only| *only != id) => {}
                Ok(id) => {
                    let change = self.cluster.task_change(&id);
                    return Some(match change {
                        Some(change) => TaskEvent::Changed(Box::new(change)),
                        None => TaskEvent::Forgotten(id),
                    });
                }
                Err(broadcast::error::RecvError::Lagged(_)) => return Some(TaskEvent::Missed),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Gives a task to a node.
pub(super) fn give(draft: &mut Draft<'_>, record: &Record, placement: Placement, now: u64) -> Task {
    let Placement { node, gpus, share } = placement;
    let assigned = life::assign(record, &node, &gpus, now);
    let task = assigned.task.clone();
    draft.put(assigned, Some(share));
    task
}

/// Gives a task to the node that was decided for it, if it still waits.
pub(super) fn give_queued(draft: &mut Draft<'_>, id: &TaskId, placement: Placement, now: u64) {
    let waiting = draft
        .task(id)
        .filter(|record| record.task.state == TaskState::Queued)
        .cloned();
    if let Some(record) = waiting {
        give(draft, &record, placement, now);
    }
}

/// Where a server that was stopped can be started again: on its node, with its GPUs.
fn place_again(draft: &Draft<'_>, record: &Record) -> Result<Placement, Problem> {
    let node = record.task.node.clone().ok_or_else(|| {
        let message = format!("task '{}' has never had a node", record.task.id);
        Problem::new(ProblemCode::WrongState, message)
    })?;
    let submission = on_its_node(&record.task.submission, &node, &record.task.gpus);
    let demand = Demand::of(&submission);
    match place(draft.rooms_for(&demand), &record.task.owner, &demand) {
        Decision::Now(placement) => Ok(placement),
        Decision::Later(obstacle) | Decision::Never(obstacle) => Err(obstacle.problem()),
    }
}

/// A submission that names the node and the GPUs that it was given.
fn on_its_node(submission: &Submission, node: &NodeName, gpus: &[GpuNumber]) -> Submission {
    let numa = submission.target.as_ref().and_then(|target| target.numa);
    Submission {
        target: Some(vfioctl_api::Target {
            node: node.clone(),
            numa,
            gpus: gpus.to_vec(),
        }),
        gpus: None,
        ..submission.clone()
    }
}

fn find<'d>(draft: &'d Draft<'_>, id: &TaskId, caller: &Caller) -> Result<&'d Record, Problem> {
    let record = draft.task(id).ok_or_else(|| not_found(id.as_str()))?;
    check_may_change(&record.task, caller)?;
    Ok(record)
}

fn check_may_change(task: &Task, caller: &Caller) -> Result<(), Problem> {
    if caller.may_change(&task.owner) {
        return Ok(());
    }
    let message = format!("task '{}' is one of {}", task.id, task.owner);
    Err(Problem::new(ProblemCode::Forbidden, message)
        .hint(format!("ask {}, or an operator", task.owner)))
}

fn not_found(task: &str) -> Problem {
    Problem::new(
        ProblemCode::NotFound,
        format!("there is no task '{}'", task.escape_debug()),
    )
    .hint("see 'vfioctl task list' and 'vfioctl vps list'")
}
