//! The mirror: what the store holds, in memory and understood.
//!
//! Everything that is read is read here. It is fed by the ledger, with what this host has just
//! written, and by a watch of the store, with what other hosts have written; whatever is older than
//! what stands there already is passed over.

mod node;
mod report;
mod state;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{broadcast, watch};
use vfioctl_api::{Moment, TaskId};
use vfioctl_store::{Entry, Key, Listing, Revision, WatchedChange};

use crate::limits::STREAM_LAG;

pub(crate) use node::Node;
pub(crate) use state::State;

/// What the store holds, in memory and understood. Clones are the same mirror.
#[derive(Debug, Clone)]
pub struct Mirror {
    state: Arc<RwLock<State>>,
    tasks: broadcast::Sender<TaskId>,
    revision: watch::Sender<Revision>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            tasks: broadcast::channel(STREAM_LAG).0,
            revision: watch::channel(0).0,
        }
    }
}

impl Mirror {
    /// What is known now. Not to be held over an await.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all that the store holds: at the start, and after a watch that broke off.
    pub(crate) fn replace(&self, listing: &Listing, now: Moment) {
        let told: Vec<TaskId> = {
            let mut state = self.write();
            state.replace(listing, now)
        };
        self.tell(told, listing.revision);
    }

    /// Takes what has changed.
    pub(crate) fn apply<'c>(
        &self,
        revision: Revision,
        changes: impl IntoIterator<Item = &'c WatchedChange>,
        now: Moment,
    ) {
        let mut told = Vec::new();
        {
            let mut state = self.write();
            for change in changes {
                let applied = match change {
                    WatchedChange::Put(entry) => state.put(entry, now),
                    WatchedChange::Deleted(key) => state.delete(key, revision),
                };
                told.extend(applied);
            }
            state.revision = state.revision.max(revision);
        }
        self.tell(told, revision);
    }

    /// Takes what stands, or does not stand, under a key that was looked up.
    pub(crate) fn look(&self, key: &Key, entry: Option<Entry>, now: Moment) {
        let (revision, change) = match entry {
            Some(entry) => (entry.revision, WatchedChange::Put(entry)),
            None => {
                let revision = self.read().revision;
                (revision, WatchedChange::Deleted(key.clone()))
            }
        };
        self.apply(revision, [&change], now);
    }

    /// Does something to what is only in memory: what a node's runner said last.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.write())
    }

    fn tell(&self, tasks: Vec<TaskId>, revision: Revision) {
        for task in tasks {
            // Nobody may be listening.
            let _ = self.tasks.send(task);
        }
        self.revision.send_if_modified(|known| {
            let is_news = revision > *known;
            *known = revision.max(*known);
            is_news
        });
    }

    /// Tells tasks that change from now on.
    pub(crate) fn watch_tasks(&self) -> broadcast::Receiver<TaskId> {
        self.tasks.subscribe()
    }

    /// Tells each revision from now on.
    pub(crate) fn watch_revision(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }
}

/// Follows the store for as long as the host runs: what other hosts write is in the mirror a moment
/// later.
pub(crate) async fn follow(
    store: &Arc<dyn vfioctl_store::Store>,
    mirror: &Mirror,
    clock: &crate::clock::Clock,
    mut after: Revision,
) {
    let mut pauses = VecDeque::from([50_u64, 200, 1000, 2000]);
    loop {
        match store.watch(&crate::keys::all(), after).await {
            Ok(mut watch) => {
                while let Ok(batch) = watch.next().await {
                    mirror.apply(batch.revision, &batch.changes, clock.now());
                    after = after.max(batch.revision);
                    pauses = VecDeque::from([50, 200, 1000, 2000]);
                }
            }
            // What was missed cannot be told any more: everything is read anew.
            Err(_) => {
                if let Ok(listing) = store.list(&crate::keys::all()).await {
                    mirror.replace(&listing, clock.now());
                    after = listing.revision;
                }
            }
        }
        let pause = if pauses.len() > 1 {
            pauses.pop_front()
        } else {
            pauses.front().copied()
        };
        tokio::time::sleep(std::time::Duration::from_millis(pause.unwrap_or(2000))).await;
    }
}
