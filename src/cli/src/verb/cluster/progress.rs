//! How a task goes on, told while somebody waits for it.

use std::time::Duration;

use vfioctl_api::{Task, TaskState};

use crate::cluster::{Host, Look, TaskReference, follow_task};
use crate::failure::Failure;
use crate::output::Output;
use crate::record::TaskRecord;
use crate::verdict::Verdict;

/// Waits for a task, and tells each change that a person would want to know, once.
///
/// # Errors
/// Where it cannot be followed.
pub(super) fn wait_until(
    host: &Host,
    task: &TaskReference,
    limit: Option<Duration>,
    output: &mut Output<'_>,
    is_enough: impl Fn(&Task) -> bool,
) -> Result<Task, Failure> {
    let mut told = String::new();
    follow_task(host, task, limit, output, |task, output| {
        let sentence = TaskRecord::from(task.clone()).sentence();
        if sentence != told {
            output.progress(&sentence);
            told = sentence;
        }
        Ok(match is_enough(task) {
            true => Look::Enough,
            false => Look::Again,
        })
    })
}

/// Whether nothing will come of a task any more, as far as anybody knows: one that is lost may come
/// back with its node, but nobody can say when.
pub(super) fn is_over(task: &Task) -> bool {
    task.state.is_over() || task.state == TaskState::Lost
}

/// What the end of a task says.
pub(super) fn verdict(task: &Task) -> Verdict {
    match task.state {
        TaskState::Completed | TaskState::Stopped => Verdict::Yes,
        _ => Verdict::No,
    }
}
