//! The ledger: the one place where a host writes tasks and allocations.
//!
//! An operation is a function from what is known to what shall be. Those that wait are done together,
//! each seeing what the ones before it do, and written in one transaction that holds only where
//! nothing has changed meanwhile. Where another host was faster, what it wrote is read and the
//! operations are done again; so an operation may run several times, and must decide the same from
//! the same. One transaction for many is also what makes a host fast: it waits for the disk once.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use vfioctl_api::{Moment, Problem, ProblemCode};
use vfioctl_store::{Commit, ErrorKind, Store, Transaction};

use super::draft::{Draft, Written};
use super::unavailable;
use crate::clock::Clock;
use crate::limits::{MAX_CONFLICTS, MAX_WAITING, OPERATION_TIME};
use crate::mirror::Mirror;

/// Writes tasks and allocations. Clones are the same ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

/// An operation that waits, or is being done.
trait Job: Send {
    /// How many places of a transaction it takes at most.
    fn weight(&self) -> usize;
    /// Does it, on a draft. One that is refused changes nothing.
    fn run(&mut self, draft: &mut Draft<'_>, now: Moment);
    /// Tells what came of it.
    fn finish(self: Box<Self>, written: Result<(), Problem>);
}

struct Operation<T, F> {
    weight: usize,
    operation: F,
    result: Option<Result<T, Problem>>,
    reply: oneshot::Sender<Result<T, Problem>>,
}

impl<T: Send, F> Job for Operation<T, F>
where
    F: FnMut(&mut Draft<'_>, Moment) -> Result<T, Problem> + Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, draft: &mut Draft<'_>, now: Moment) {
        self.result = Some((self.operation)(draft, now));
    }

    fn finish(self: Box<Self>, written: Result<(), Problem>) {
        let not_run = || {
            Err(Problem::new(
                ProblemCode::Internal,
                "the operation was not done",
            ))
        };
        let result = match written {
            Ok(()) => self.result.unwrap_or_else(not_run),
            Err(problem) => Err(problem),
        };
        // Whoever asked may have gone.
        let _ = self.reply.send(result);
    }
}

impl Ledger {
    /// Starts a ledger; the task ends when the last of its clones is dropped.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        mirror: Mirror,
        clock: Clock,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let writer = Writer {
            store,
            mirror,
            clock,
        };
        (Self { jobs }, tokio::spawn(writer.run(waiting)))
    }

    /// Does an operation that takes so many places of a transaction at most.
    ///
    /// # Errors
    /// What the operation refuses; and where the store does not answer.
    pub(crate) async fn run<T, F>(&self, weight: usize, operation: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnMut(&mut Draft<'_>, Moment) -> Result<T, Problem> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let job = Box::new(Operation {
            weight,
            operation,
            result: None,
            reply,
        });
        let done = async {
            self.jobs.send(job).await.ok()?;
            result.await.ok()
        };
        match tokio::time::timeout(OPERATION_TIME, done).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(Problem::new(
                ProblemCode::StoreUnavailable,
                "the host is ending",
            )),
            Err(_) => Err(Problem::new(
                ProblemCode::StoreUnavailable,
                "what the cluster knows could not be written in time; it may still be",
            )
            .hint("look whether it was done, and try again where it was not")),
        }
    }
}

/// Does what waits.
struct Writer {
    store: Arc<dyn Store>,
    mirror: Mirror,
    clock: Clock,
}

/// What came of writing a batch.
enum Outcome {
    Written,
    /// Something has changed meanwhile, or may have: it was read, and all is done again.
    Again,
    Failed(Problem),
}

impl Writer {
    async fn run(self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(job) => job,
                None => match waiting.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let mut weight = first.weight();
            let mut batch = vec![first];
            while let Ok(job) = waiting.try_recv() {
                weight += job.weight();
                if weight > Transaction::MAX_LEN {
                    next = Some(job);
                    break;
                }
                batch.push(job);
            }
            let written = self.write(&mut batch).await;
            for job in batch {
                job.finish(written.clone());
            }
        }
    }

    async fn write(&self, batch: &mut [Box<dyn Job>]) -> Result<(), Problem> {
        for _ in 0..MAX_CONFLICTS {
            match self.try_write(batch).await {
                Outcome::Written => return Ok(()),
                Outcome::Again => {}
                Outcome::Failed(problem) => return Err(problem),
            }
        }
        Err(Problem::new(
            ProblemCode::StoreUnavailable,
            "other hosts change the same tasks and nodes all the time",
        )
        .hint("try again in a moment"))
    }

    async fn try_write(&self, batch: &mut [Box<dyn Job>]) -> Outcome {
        let written = match self.draft(batch) {
            Ok(written) => written,
            Err(problem) => return Outcome::Failed(problem),
        };
        if written.transaction.is_empty() {
            return Outcome::Written;
        }
        match self.store.commit(written.transaction.clone()).await {
            Ok(Commit::Done(revision)) => {
                self.mirror
                    .apply(revision, &written.at(revision), self.clock.now());
                Outcome::Written
            }
            Ok(Commit::Conflict) => self.look(&written).await,
            // It may have been written: what stands there now tells.
            Err(error) if error.kind() == ErrorKind::Unknown => self.look(&written).await,
            Err(error) => Outcome::Failed(unavailable(&error)),
        }
    }

    /// Does every operation of a batch on one draft.
    fn draft(&self, batch: &mut [Box<dyn Job>]) -> Result<Written, Problem> {
        let state = self.mirror.read();
        let mut draft = Draft::new(&state);
        let now = self.clock.now();
        for job in batch {
            job.run(&mut draft, now);
        }
        if draft.is_empty() {
            return Ok(Written::default());
        }
        draft.write()
    }

    /// Reads what a batch would have written, and what it depends on.
    async fn look(&self, written: &Written) -> Outcome {
        let keys = written
            .changes
            .iter()
            .map(vfioctl_store::WatchedChange::key);
        for key in keys.chain(&written.looked_at) {
            match self.store.get(key).await {
                Ok(entry) => self.mirror.look(key, entry, self.clock.now()),
                Err(error) => return Outcome::Failed(unavailable(&error)),
            }
        }
        Outcome::Again
    }
}
