//! Watches: every change below a prefix, in order.

use tokio::sync::mpsc;

use crate::{Entry, Error, Key, Result, Revision};

/// Changes of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The revision.
    pub revision: Revision,
    /// What has changed.
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

impl WatchedChange {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted(key) => key,
        }
    }
}

/// Every change below a prefix, in order. It ends with an error, after which the caller watches
/// anew from the last revision that it saw.
#[derive(Debug)]
pub struct Watch {
    batches: mpsc::Receiver<Result<Batch>>,
}

/// Batches that a watch holds for somebody who does not read them; one who is slower than that is
/// told so, and reads anew.
pub(crate) const BUFFER: usize = 1024;

impl Watch {
    /// A watch that is fed through the sender.
    pub(crate) fn new() -> (mpsc::Sender<Result<Batch>>, Self) {
        let (sender, batches) = mpsc::channel(BUFFER);
        (sender, Self { batches })
    }

    /// The next changes.
    ///
    /// # Errors
    /// Where the watch has broken off.
    pub async fn next(&mut self) -> Result<Batch> {
        let broken = || Error::new(crate::ErrorKind::Unavailable, "the watch has ended");
        self.batches.recv().await.ok_or_else(broken)?
    }
}
