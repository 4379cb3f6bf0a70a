//! Watches: every change below a prefix, in order.

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::limits::WATCH_BUFFER;
use crate::{Entry, Error, ErrorKind, Key, Prefix, Result, Revision};

/// Changes of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The revision.
    pub revision: Revision,
    /// What has changed, by key.
    pub changes: Vec<WatchedChange>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchedChange {
    /// A text was put.
    Put(Entry),
    /// What stood there was removed.
    Deleted(Key),
}

/// Every change below a prefix, in order, none left out. It ends with an error, after which the
/// caller watches anew from the last revision that it saw.
#[derive(Debug)]
pub struct Watch {
    missed: std::vec::IntoIter<Batch>,
    batches: Receiver<Result<Batch>>,
}

/// The other end of a watch.
#[derive(Debug)]
pub(crate) struct Watcher(Sender<Result<Batch>>);

impl Batch {
    /// What concerns those who watch a prefix.
    pub(crate) fn below(&self, prefix: &Prefix) -> Option<Batch> {
        let is_below = |change: &&WatchedChange| prefix.is_of(change.key());
        let changes: Vec<_> = self.changes.iter().filter(is_below).cloned().collect();
        (!changes.is_empty()).then_some(Batch {
            revision: self.revision,
            changes,
        })
    }

    /// Bytes of all texts together.
    pub(crate) fn bytes(&self) -> usize {
        self.changes.iter().map(WatchedChange::bytes).sum()
    }
}

impl WatchedChange {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted(key) => key,
        }
    }

    fn bytes(&self) -> usize {
        let value = match self {
            Self::Put(entry) => entry.value.len(),
            Self::Deleted(_) => 0,
        };
        self.key().as_str().len() + value
    }
}

impl Watch {
    /// A watch, which first tells what was missed, and who feeds it.
    pub(crate) fn new(missed: Vec<Batch>) -> (Watcher, Self) {
        // One place more, for the error that it ends with.
        let (sender, batches) = channel(WATCH_BUFFER + 1);
        let missed = missed.into_iter();
        (Watcher(sender), Self { missed, batches })
    }

    /// The next changes. What is not waited for to the end is not lost: the next call has it.
    ///
    /// # Errors
    /// Where the watch has ended: [`ErrorKind::Slow`] where more changes were waiting than are held
    /// for one who does not read, [`ErrorKind::Compacted`] where the next ones are no longer known,
    /// [`ErrorKind::Unavailable`] where the store does not answer or was closed.
    pub async fn next(&mut self) -> Result<Batch> {
        if let Some(batch) = self.missed.next() {
            return Ok(batch);
        }
        let ended = || Error::new(ErrorKind::Unavailable, "the watch has ended");
        self.batches.recv().await.ok_or_else(ended)?
    }
}

impl Watcher {
    /// Passes changes on; false where nobody listens any more, or does not read them.
    pub(crate) fn tell(&self, batch: Batch) -> bool {
        if self.0.capacity() > 1 {
            return self.0.try_send(Ok(batch)).is_ok();
        }
        self.end(slow(batch.revision));
        false
    }

    /// Passes changes on, and waits a limited time for room; false where nobody listens any more, or
    /// does not read them.
    #[cfg(feature = "etcd")]
    pub(crate) async fn tell_within(&self, time: std::time::Duration, batch: Batch) -> bool {
        // One place stays free.
        match tokio::time::timeout(time, self.0.reserve_many(2)).await {
            Ok(Ok(mut places)) => {
                if let Some(place) = places.next() {
                    place.send(Ok(batch));
                }
                true
            }
            Ok(Err(_)) => false,
            Err(_) => {
                self.end(slow(batch.revision));
                false
            }
        }
    }

    /// Waits until nobody listens any more.
    #[cfg(feature = "etcd")]
    pub(crate) async fn deserted(&self) {
        self.0.closed().await;
    }

    /// Whether nobody listens any more.
    pub(crate) fn is_deserted(&self) -> bool {
        self.0.is_closed()
    }

    /// Ends the watch.
    pub(crate) fn end(&self, error: Error) {
        // There is a place left for it, unless it has ended already.
        let _ = self.0.try_send(Err(error));
    }
}

fn slow(revision: Revision) -> Error {
    let what = format!("the watch ended before revision {revision}: {WATCH_BUFFER} were not read");
    Error::new(ErrorKind::Slow, what)
}
