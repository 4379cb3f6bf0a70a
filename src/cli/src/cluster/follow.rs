//! Following a task through its life, over breaks of the connection and restarts of the host.

use std::time::{Duration, Instant};

use vfioctl_api::Task;

use super::event_stream::TaskEvent;
use super::host::Host;
use super::host_error::HostError;
use super::named::TaskReference;
use super::patience::Patience;
use crate::failure::Failure;
use crate::output::Output;

/// Whether one who looks at a task has seen enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It shall be shown again when it has changed.
    Again,
    /// It need not.
    Enough,
}

/// Shows a task to `look` as it is, and each time that it has changed, until that has seen enough.
///
/// Where there is no `limit`, that may take for ever: a task runs for as long as it runs. That the
/// host is there is looked after all the same.
///
/// # Errors
/// Where the host does not answer for too long, the task is forgotten meanwhile, or the limit is
/// reached.
pub(crate) fn follow_task(
    host: &Host,
    task: &TaskReference,
    limit: Option<Duration>,
    output: &mut Output<'_>,
    mut look: impl FnMut(&Task, &mut Output<'_>) -> Result<Look, Failure>,
) -> Result<Task, Failure> {
    let begin = Instant::now();
    let mut patience = Patience::default();
    let mut task = task.clone();
    let mut last: Option<Task> = None;
    loop {
        let mut events = match host.watch_task(&task) {
            Ok(events) => events,
            Err(error) => {
                patience.bear(error, output)?;
                continue;
            }
        };
        loop {
            if let Some(limit) = limit.filter(|limit| begin.elapsed() > *limit) {
                return Err(too_long(&task, limit));
            }
            let event = match events.next() {
                Ok(Some(TaskEvent::Missed)) => host
                    .task(&task)
                    .map(|task| Some(TaskEvent::Changed(Box::new(task)))),
                other => other,
            };
            match event {
                Ok(Some(TaskEvent::Changed(now))) => {
                    patience.restore();
                    if last.as_ref() == Some(&*now) {
                        continue;
                    }
                    if look(&now, output)? == Look::Enough {
                        return Ok(*now);
                    }
                    // Its name may mean another one after a break.
                    task = TaskReference::from(&now.id);
                    last = Some(*now);
                }
                Ok(Some(TaskEvent::Removed)) => return Err(forgotten(&task)),
                Ok(Some(TaskEvent::Beat | TaskEvent::Missed)) => {}
                // A host that ends, ends its streams.
                Ok(None) => break bear_end(host, &mut patience, output)?,
                Err(error) => break patience.bear(error, output)?,
            }
        }
    }
}

fn bear_end(host: &Host, patience: &mut Patience, output: &mut Output<'_>) -> Result<(), Failure> {
    patience.bear(HostError::ended(host.access()), output)
}

fn too_long(task: &TaskReference, limit: Duration) -> Failure {
    let what = format!(
        "task '{task}' has not come so far within {} s",
        limit.as_secs()
    );
    Failure::could_not("TimedOut", what).hint(format!("look at it: 'vfioctl task show {task}'"))
}

fn forgotten(task: &TaskReference) -> Failure {
    Failure::could_not("Removed", format!("task '{task}' was removed meanwhile"))
        .hint("see 'vfioctl audit' for who did it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Access, ClusterFile, Times};
    use crate::cluster_sample::task_json;
    use crate::fake_host::{FakeHost, events};

    #[test]
    fn a_task_that_does_not_come_so_far_in_time_is_told() {
        let host = FakeHost::start(vec![events(&[task_json("running")])]);
        let path = host.folder().join("cluster.json");
        let file = ClusterFile::read(&path).unwrap().unwrap();
        let access = Access {
            host: file.host,
            authority: file.authority,
            token: file.token,
            file: None,
        };
        let asked = Host::new(access, Times::CALL);
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut answer, &mut conversation, false);
        let task = "training".parse().unwrap();
        let limit = Some(Duration::ZERO);
        let failure = follow_task(&asked, &task, limit, &mut output, |_, _| Ok(Look::Again));
        assert_eq!(failure.unwrap_err().name(), "TimedOut");
        assert_eq!(host.end().len(), 1);
    }
}
