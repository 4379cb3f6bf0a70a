//! Submissions: work that is asked for becomes a task.

use vfioctl_api::{Kind, Problem, ProblemCode, Submission, Task, TaskId, UserName};
use vfioctl_scheduler::{Decision, Demand, Record, place};

use super::Cluster;
use super::draft::Draft;
use super::task::{ONE_TASK, give};
use crate::limits::{MAX_NUMBERS_TRIED, MAX_TASKS_A_USER};

impl Cluster {
    /// Takes a submission: it is placed at once where there is room. Where there is none, a command
    /// that names no GPU of a node waits, and everything else is refused, unless it asks to wait.
    ///
    /// # Errors
    /// Where it makes no sense, no node could ever take it, or what it names is taken.
    pub async fn submit(&self, owner: UserName, submission: Submission) -> Result<Task, Problem> {
        submission.check().map_err(|error| {
            Problem::new(ProblemCode::BadRequest, error.to_string())
                .hint("mend the submission; 'vfioctl task submit --help' tells what there is")
        })?;
        let chance = u32::from_le_bytes(self.random_bytes());
        let seconds = self.now() / 1000;
        let mut own: Option<Task> = None;
        let submit = move |draft: &mut Draft<'_>, now| {
            if let Some(known) = own.as_ref().and_then(|own| find_written(draft, own)) {
                return Ok(known.clone());
            }
            check_count(draft, &owner)?;
            let id = find_number(draft, seconds, chance)?;
            let mut record = Record::new(id, owner.clone(), submission.clone(), now);
            let demand = Demand::of(&submission);
            let task = match place(draft.rooms_for(&demand), &owner, &demand) {
                Decision::Now(placement) => give(draft, &record, placement, now),
                Decision::Later(obstacle) if waits(&submission) => {
                    record.task.reason = Some(obstacle.to_string());
                    let task = record.task.clone();
                    draft.put(record, None);
                    task
                }
                Decision::Later(obstacle) | Decision::Never(obstacle) => {
                    return Err(obstacle.problem());
                }
            };
            own = Some(task.clone());
            Ok(task)
        };
        self.ledger.run(ONE_TASK, submit).await
    }
}

/// The task that a submission became before, when it was not known whether that was written. Another's
/// may have its number: two that are submitted in one second have the same once in 33 million times.
fn find_written<'d>(draft: &'d Draft<'_>, own: &Task) -> Option<&'d Task> {
    let known = &draft.task(&own.id)?.task;
    let is_own = known.owner == own.owner
        && known.submitted == own.submitted
        && known.submission == own.submission;
    is_own.then_some(known)
}

/// A number that no task has: the one that chance gives, or the next.
fn find_number(draft: &Draft<'_>, seconds: u64, chance: u32) -> Result<TaskId, Problem> {
    let mut numbers =
        (0..MAX_NUMBERS_TRIED).map(|more| TaskId::new(seconds, chance.wrapping_add(more)));
    let free = numbers.find(|id| draft.task(id).is_none());
    free.ok_or_else(|| {
        let message = "a number that no task has was not found";
        Problem::new(ProblemCode::TooMuch, message).hint("try again in a second")
    })
}

/// Whether a submission waits where there is no room.
fn waits(submission: &Submission) -> bool {
    let names_gpus = submission
        .target
        .as_ref()
        .is_some_and(|target| !target.gpus.is_empty());
    submission.queue || (submission.kind == Kind::Command && !names_gpus)
}

fn check_count(draft: &Draft<'_>, owner: &UserName) -> Result<(), Problem> {
    let is_going = |record: &Record| record.task.owner == *owner && !record.task.state.is_over();
    let going = draft
        .state()
        .tasks
        .values()
        .filter(|kept| is_going(&kept.value))
        .take(MAX_TASKS_A_USER);
    // Counting is for those who have many; everybody else is below by far.
    if draft.state().tasks.len() < MAX_TASKS_A_USER || going.count() < MAX_TASKS_A_USER {
        return Ok(());
    }
    let message =
        format!("you have {MAX_TASKS_A_USER} tasks that wait or run, and nobody may have more");
    Err(Problem::new(ProblemCode::TooMuch, message)
        .hint("wait until some have ended, or kill some"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vfioctl_store::MemoryStore;

    use super::*;
    use crate::clock::Clock;
    use crate::cluster::ChanceSource;

    /// Gives the same to everybody.
    #[derive(Debug)]
    struct NoChance;

    impl ChanceSource for NoChance {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[tokio::test]
    async fn two_submissions_with_one_number_become_two_tasks() {
        let store = Arc::new(MemoryStore::new());
        let clock = Clock::new(|| 1_790_000_000_000);
        let opened = Cluster::open(store, clock, Arc::new(NoChance), "https://a").await;
        let (cluster, _running) = opened.unwrap();
        let text = r#"{"kind": "command", "backend": {"container": {"command": ["true"]}}, "queue": true}"#;
        let submission: Submission = serde_json::from_str(text).unwrap();
        let submit = |user: &str| cluster.submit(user.parse().unwrap(), submission.clone());
        // At once, so that they are in one batch; and one after the other.
        let (first, second) = tokio::join!(submit("alice"), submit("bob"));
        let tasks = [first, second, submit("alice").await].map(Result::unwrap);
        let owners = tasks.each_ref().map(|task| task.owner.to_string());
        assert_eq!(owners, ["alice", "bob", "alice"]);
        for task in &tasks {
            let known = cluster.task(task.id.as_str()).unwrap();
            assert_eq!((&known.id, &known.owner), (&task.id, &task.owner));
        }
        assert!(tasks[0].id != tasks[1].id && tasks[0].id != tasks[2].id);
    }
}
