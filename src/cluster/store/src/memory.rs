//! A store that forgets everything at its end: for tests and simulations.
//!
//! Time is that of tokio, so that a test can stop and move it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::table::Table;
use crate::timer::{Ends, Timer};
use crate::{
    Commit, Entry, Key, Lease, Listing, Prefix, Result, Revision, Store, Transaction, Watch,
};

/// A store that forgets everything at its end. Clones are the same store.
///
/// A lease ends at its time where a runtime of tokio runs, and else when somebody asks.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    timer: Arc<Timer>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// When something will happen by itself: for those who want to be told and not to ask.
    pub fn next_end(&self) -> Option<Instant> {
        self.shared.table().next_end()
    }

    /// Ends what has run out of time, and tells those who watch.
    pub fn expire(&self) {
        drop(self.shared.table());
    }

    /// Ends every lease, as the end of a process does where leases live in its memory.
    pub fn forget_leases(&self) {
        let mut table = self.shared.table();
        while let Some(lease) = table.next_lease() {
            table.end(lease);
        }
    }

    /// The last revision.
    pub fn revision(&self) -> Revision {
        self.shared.table().revision()
    }
}

impl Shared {
    /// The table as it is now: leases whose time is over have ended.
    fn table(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while let Some(lease) = table.due(now) {
            table.end(lease);
        }
        table
    }
}

#[async_trait]
impl Ends for Shared {
    fn next_end(&self) -> Option<Instant> {
        self.table().next_end()
    }

    async fn end_due(&self, _now: Instant) {
        drop(self.table());
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.shared.table().get(key))
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing> {
        Ok(self.shared.table().list(prefix))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit> {
        self.shared.table().commit(transaction)
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch> {
        self.shared.table().watch(prefix, after)
    }

    async fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        let lease = self.shared.table().grant(time_to_live, Instant::now())?;
        self.timer.watch_over(&self.shared);
        Ok(lease)
    }

    async fn renew(&self, lease: Lease) -> Result<()> {
        self.shared.table().renew(lease, Instant::now())
    }

    async fn revoke(&self, lease: Lease) -> Result<()> {
        self.shared.table().end(lease);
        Ok(())
    }
}
