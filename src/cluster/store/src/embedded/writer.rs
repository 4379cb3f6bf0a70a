//! The writer: a thread that does what is asked, in order, and alone writes the file.
//!
//! What waits together is checked in order and made durable together, so that many callers share
//! the price of reaching the disk. The table, and whoever watches, see a change when it is on disk
//! and not before.

use std::sync::Arc;
use std::time::Instant as Moment;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::file::{Failure, File};
use super::{Shared, closed};
use crate::group::Group;
use crate::limits::{GROUP_BYTES, GROUP_LEN, REOPEN_PAUSE};
use crate::{Commit, Error, ErrorKind, Lease, Result, Transaction};

/// What is asked of the writer.
#[derive(Debug)]
pub(super) enum Request {
    /// A transaction.
    Commit(Waiting),
    /// To end a lease: at any rate, or where its time was over at a moment.
    End {
        lease: Lease,
        if_due_at: Option<Instant>,
        reply: oneshot::Sender<Result<()>>,
    },
    /// To close the file, and take no more.
    Close { reply: oneshot::Sender<()> },
}

/// A transaction, and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) transaction: Transaction,
    pub(super) caller: Caller,
}

/// Who waits.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) reply: oneshot::Sender<Result<Commit>>,
    /// Its place in the queue, given back with the answer.
    pub(super) room: OwnedSemaphorePermit,
}

/// What to say once the group is on disk.
type Answer = (Caller, Result<Commit>);

#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    shared: Arc<Shared>,
    /// A group that may be in the file or not. Nothing else is done before that is known.
    unsure: Option<Group>,
    reopened: Option<Moment>,
}

impl Writer {
    pub(super) fn new(file: File, shared: Arc<Shared>) -> Self {
        Self {
            file,
            shared,
            unsure: None,
            reopened: None,
        }
    }

    /// Does what is asked until nobody can ask any more, and tells who asked to close.
    pub(super) fn run(
        mut self,
        mut requests: UnboundedReceiver<Request>,
    ) -> Option<oneshot::Sender<()>> {
        let mut next = requests.blocking_recv();
        while let Some(request) = next.take() {
            match request {
                Request::Commit(first) => {
                    let (group, other) = gather(first, &mut requests);
                    self.commit(group);
                    next = other;
                }
                Request::End {
                    lease,
                    if_due_at,
                    reply,
                } => {
                    let _ = reply.send(self.end(lease, if_due_at));
                }
                Request::Close { reply } => return Some(reply),
            }
            next = next.or_else(|| requests.blocking_recv());
        }
        None
    }

    fn commit(&mut self, waiting: Vec<Waiting>) {
        match self.settle() {
            Ok(()) => self.write(waiting),
            Err(error) => {
                let callers = waiting.into_iter().map(|waiting| waiting.caller);
                fail(callers, error.kind(), error);
            }
        }
    }

    fn write(&mut self, waiting: Vec<Waiting>) {
        let table = self.shared.table();
        let mut group = Group::new(&table);
        let answers = waiting.into_iter().map(|waiting| {
            let answer = group.admit(&table, waiting.transaction);
            (waiting.caller, answer)
        });
        let answers: Vec<Answer> = answers.collect();
        let kept = group.kept(&table);
        // Only this thread changes what stands in the table, so it is the same afterwards.
        drop(table);
        if !kept.is_empty() || group.revision() > self.file.reserved() {
            let written = match self.open() {
                Ok(()) => self.file.write(&kept, group.revision()),
                Err(error) => Err(Failure::NotWritten(error)),
            };
            match written {
                Ok(()) => {}
                Err(Failure::NotWritten(error)) => {
                    return fail(callers(answers), error.kind(), error);
                }
                Err(Failure::Unsure(error)) => return self.look(group, answers, error),
            }
        }
        self.shared.table().apply(group);
        tell(answers);
    }

    /// Looks whether a group was written, where that is not known.
    fn look(&mut self, group: Group, answers: Vec<Answer>, error: Error) {
        let revision = group.revision();
        self.unsure = Some(group);
        self.reopened = None;
        match self.settle() {
            Ok(()) if self.file.written() == revision => tell(answers),
            Ok(()) => fail(callers(answers), error.kind(), error),
            Err(_) => fail(callers(answers), ErrorKind::Unknown, error),
        }
    }

    /// Brings table and file together, where it was not known what the file has.
    fn settle(&mut self) -> Result<()> {
        if self.unsure.is_none() {
            return Ok(());
        }
        self.open()?;
        let written = self.file.written();
        if let Some(group) = self.unsure.take_if(|group| group.revision() == written) {
            self.shared.table().apply(group);
        }
        self.unsure = None;
        Ok(())
    }

    /// Opens the file, where it had to be closed.
    fn open(&mut self) -> Result<()> {
        if self.file.is_open() {
            return Ok(());
        }
        if self.reopened.is_some_and(|at| at.elapsed() < REOPEN_PAUSE) {
            let what = "the file could not be used a moment ago";
            return Err(Error::new(ErrorKind::Unavailable, what));
        }
        self.reopened = Some(Moment::now());
        let unsure = self.unsure.as_ref().map(Group::revision);
        self.file.reopen(unsure)
    }

    fn end(&mut self, lease: Lease, if_due_at: Option<Instant>) -> Result<()> {
        self.settle()?;
        let revision = self.shared.table().revision();
        if revision >= self.file.reserved() {
            self.open()?;
            let reserve = self.file.write(&Default::default(), revision);
            reserve.map_err(|(Failure::NotWritten(error) | Failure::Unsure(error))| error)?;
        }
        let mut table = self.shared.table();
        if if_due_at.is_none_or(|now| table.is_due(lease, now)) {
            table.end(lease);
        }
        Ok(())
    }
}

impl Drop for Writer {
    /// However the thread ends, whoever watches is told.
    fn drop(&mut self) {
        self.shared.table().end_watches(closed);
    }
}

/// Transactions that wait together, and what comes after them where that is something else.
fn gather(
    first: Waiting,
    requests: &mut UnboundedReceiver<Request>,
) -> (Vec<Waiting>, Option<Request>) {
    let mut bytes = first.transaction.bytes();
    let mut group = vec![first];
    while group.len() < GROUP_LEN && bytes < GROUP_BYTES {
        match requests.try_recv() {
            Ok(Request::Commit(waiting)) => {
                bytes += waiting.transaction.bytes();
                group.push(waiting);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

fn tell(answers: Vec<Answer>) {
    for (caller, answer) in answers {
        caller.tell(answer);
    }
}

fn callers(answers: Vec<Answer>) -> impl Iterator<Item = Caller> {
    answers.into_iter().map(|(caller, _)| caller)
}

/// Answers all alike: also what would have been refused may have been so for something before it.
fn fail(callers: impl Iterator<Item = Caller>, kind: ErrorKind, error: Error) {
    let what = match kind {
        ErrorKind::Unknown => "the change may be on disk or not",
        _ => "the change was not made",
    };
    let error = Arc::new(error);
    for caller in callers {
        caller.tell(Err(Error::new(kind, what).caused_by(Arc::clone(&error))));
    }
}

impl Caller {
    fn tell(self, answer: Result<Commit>) {
        // One who does not wait any more does not know what came of it, and has to look.
        let _ = self.reply.send(answer);
        drop(self.room);
    }
}
