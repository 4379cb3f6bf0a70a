//! The store in one file, for one host.
//!
//! Everything is held in memory, in a [`Table`], which serves reads, watches and leases; a change is
//! made there once it is on disk. What goes with a lease is not written at all: nobody can renew a
//! lease while this process is down, and for how long that was, no clock can be believed.

#[cfg(test)]
mod fake_disk;
mod file;
mod medium;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout};

use crate::limits::{ANSWER_TIME, QUEUE_BYTES, QUEUE_TIME, REQUEST_BYTES};
use crate::table::Table;
use crate::timer::{Ends, Timer};
use crate::{
    Commit, Entry, Error, ErrorKind, Key, Lease, Listing, Prefix, Result, Revision, Store,
    Transaction, Watch,
};
use file::File;
use medium::Medium;
use writer::{Caller, Request, Waiting, Writer};

/// A store in one file, for one host. Clones are the same store.
///
/// A change is answered when it is on disk, so nothing that was answered is lost, however the
/// process or the machine ends. What goes with a lease is the exception: it is gone, and so are all
/// leases, after the store was opened again.
///
/// It waits for a thread of its own, which the clock of a test does not stop for: where time is
/// stopped, use [`MemoryStore`](crate::MemoryStore).
#[derive(Clone)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
    timer: Arc<Timer>,
}

struct Inner {
    name: String,
    shared: Arc<Shared>,
    requests: UnboundedSender<Request>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
}

impl EmbeddedStore {
    /// Opens the store in a file, and makes the file where it is not there yet, for its owner alone.
    /// Beside it, a file that ends in `.lock` tells who has it open.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where another process has it open, where it may not be opened, or where
    /// something else is in it; [`ErrorKind::Damaged`] where it is not as it was written;
    /// [`ErrorKind::Unavailable`] where the disk is full or fails.
    pub async fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let name = path.display().to_string();
        let open = move || {
            let medium = Arc::new(Medium::open(&path)?);
            let (file, table) = File::open(medium.clone(), &name)?;
            medium.publish()?;
            Self::start(file, table, name)
        };
        let opened = tokio::task::spawn_blocking(open).await;
        opened.unwrap_or_else(|cause| {
            let what = "the file cannot be read; put back a copy of it";
            Err(Error::new(ErrorKind::Damaged, what).caused_by(cause))
        })
    }

    /// Starts the thread that writes a file.
    fn start(file: File, table: Table, name: String) -> Result<Self> {
        let shared = Arc::new(Shared {
            table: Mutex::new(table),
        });
        let (requests, receiver) = unbounded_channel();
        let writer = Writer::new(file, Arc::clone(&shared));
        let run = move || {
            if let Some(reply) = writer.run(receiver) {
                // The file is closed by now.
                let _ = reply.send(());
            }
        };
        let thread = std::thread::Builder::new().name("store".to_owned());
        thread.spawn(run).map_err(|cause| {
            let what = "start the thread that writes the store";
            Error::new(ErrorKind::Unavailable, what).caused_by(cause)
        })?;
        let inner = Inner {
            name,
            shared,
            requests,
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
        };
        Ok(Self {
            inner: Arc::new(inner),
            timer: Arc::default(),
        })
    }

    /// Does what was asked before, and closes the file. Whatever is asked afterwards fails. A store
    /// that is dropped closes its file, too, but a little later.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.inner.requests.send(Request::Close { reply }).is_ok() {
            // An error is one that has closed it already.
            let _ = closed.await;
        }
    }
}

impl Inner {
    fn table(&self) -> Result<MutexGuard<'_, Table>> {
        if self.requests.is_closed() {
            return Err(closed());
        }
        Ok(self.shared.table())
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit> {
        transaction.check_size()?;
        let count = u32::try_from(transaction.bytes() + REQUEST_BYTES).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(count);
        let Ok(Ok(room)) = timeout(QUEUE_TIME, room).await else {
            let what = format!("there was no room in the queue for {QUEUE_TIME:?}");
            return Err(Error::new(ErrorKind::Unavailable, what));
        };
        let (reply, answer) = oneshot::channel();
        let caller = Caller { reply, room };
        let waiting = Waiting {
            transaction,
            caller,
        };
        self.ask(Request::Commit(waiting), answer).await
    }

    async fn end(&self, lease: Lease, if_due_at: Option<Instant>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let request = Request::End {
            lease,
            if_due_at,
            reply,
        };
        self.ask(request, answer).await
    }

    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        self.requests.send(request).map_err(|_| closed())?;
        match timeout(ANSWER_TIME, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unknown("the store was closed".to_owned())),
            Err(_) => Err(unknown(format!(
                "the disk did not answer for {ANSWER_TIME:?}"
            ))),
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EmbeddedStore")
            .field(&self.inner.name)
            .finish()
    }
}

#[async_trait]
impl Ends for Inner {
    fn next_end(&self) -> Option<Instant> {
        self.shared.table().next_end()
    }

    async fn end_due(&self, now: Instant) {
        loop {
            let due = self.shared.table().due(now);
            match due {
                Some(lease) if self.end(lease, Some(now)).await.is_ok() => {}
                _ => return,
            }
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.inner.table()?.get(key))
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing> {
        Ok(self.inner.table()?.list(prefix))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit> {
        self.inner.commit(transaction).await
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch> {
        self.inner.table()?.watch(prefix, after)
    }

    async fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        let lease = self.inner.table()?.grant(time_to_live, Instant::now())?;
        self.timer.watch_over(&self.inner);
        Ok(lease)
    }

    async fn renew(&self, lease: Lease) -> Result<()> {
        self.inner.table()?.renew(lease, Instant::now())
    }

    async fn revoke(&self, lease: Lease) -> Result<()> {
        self.inner.end(lease, None).await
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the store is closed")
}

fn unknown(why: String) -> Error {
    Error::new(ErrorKind::Unknown, why)
}
