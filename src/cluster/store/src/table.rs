//! The table: what stands under which key, with leases, in memory. No clock and no waiting: it is
//! told what time it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::watch::{BUFFER, Batch, Watch, WatchedChange};
use crate::{
    Commit, Entry, Error, ErrorKind, Key, Lease, Listing, Prefix, Result, Revision, Transaction,
    Write,
};

/// Changes that are kept for those who watch from an earlier revision.
const HISTORY: usize = 8192;

/// What stands under which key.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<Key, Row>,
    revision: Revision,
    leases: BTreeMap<Lease, Granted>,
    last_lease: i64,
    history: VecDeque<Batch>,
    /// The revision before the first one of the history.
    forgotten: Revision,
    watchers: Vec<Watcher>,
}

#[derive(Debug, Clone)]
struct Row {
    value: Vec<u8>,
    revision: Revision,
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Granted {
    time_to_live: Duration,
    ends: Instant,
    keys: BTreeSet<Key>,
}

#[derive(Debug)]
struct Watcher {
    prefix: Prefix,
    sender: mpsc::Sender<Result<Batch>>,
}

impl Table {
    /// The last revision.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// What stands under a key.
    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        self.rows.get(key).map(|row| row.entry(key))
    }

    /// All that stands below a prefix.
    pub(crate) fn list(&self, prefix: &Prefix) -> Listing {
        let first = Key::parse(prefix.as_str().trim_end_matches('/'));
        let start = first.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range((start, Bound::Unbounded));
        // Keys below a prefix stand together, but "a-b" stands between "a" and "a/b".
        let entries = rows
            .take_while(|(key, _)| is_at_or_before(prefix, key))
            .filter(|(key, _)| prefix.is_of(key))
            .map(|(key, row)| row.entry(key))
            .collect();
        Listing {
            entries,
            revision: self.revision,
        }
    }

    /// Whether every guard holds.
    pub(crate) fn allows(&self, transaction: &Transaction) -> bool {
        transaction.guards.iter().all(|guard| {
            let revision = self.rows.get(&guard.key).map_or(0, |row| row.revision);
            revision == guard.revision
        })
    }

    /// The first lease of a transaction that is not there.
    pub(crate) fn missing_lease(&self, transaction: &Transaction) -> Option<Lease> {
        transaction.writes.iter().find_map(|write| match write {
            Write::Put { lease, .. } => lease.filter(|lease| !self.leases.contains_key(lease)),
            Write::Delete { .. } => None,
        })
    }

    /// Does the writes of a transaction that [`Self::allows`].
    pub(crate) fn apply(&mut self, writes: Vec<Write>) -> Revision {
        self.revision += 1;
        let revision = self.revision;
        let mut changes = Vec::new();
        for write in writes {
            match write {
                Write::Put { key, value, lease } => {
                    self.detach(&key);
                    let row = Row {
                        value,
                        revision,
                        lease,
                    };
                    if let Some(granted) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
                        granted.keys.insert(key.clone());
                    }
                    changes.push(WatchedChange::Put(row.entry(&key)));
                    self.rows.insert(key, row);
                }
                Write::Delete { key } => {
                    self.detach(&key);
                    if self.rows.remove(&key).is_some() {
                        changes.push(WatchedChange::Deleted(key));
                    }
                }
            }
        }
        self.tell(Batch { revision, changes });
        revision
    }

    fn detach(&mut self, key: &Key) {
        let lease = self.rows.get(key).and_then(|row| row.lease);
        if let Some(granted) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            granted.keys.remove(key);
        }
    }

    fn tell(&mut self, batch: Batch) {
        self.watchers.retain(|watcher| watcher.offer(&batch));
        self.history.push_back(batch);
        while self.history.len() > HISTORY {
            if let Some(oldest) = self.history.pop_front() {
                self.forgotten = oldest.revision;
            }
        }
    }

    /// Does a whole transaction.
    pub(crate) fn commit(&mut self, transaction: Transaction) -> Result<Commit> {
        check_size(&transaction)?;
        if let Some(lease) = self.missing_lease(&transaction) {
            return Err(lease_gone(lease));
        }
        if !self.allows(&transaction) {
            return Ok(Commit::Conflict);
        }
        if transaction.is_empty() {
            return Ok(Commit::Done(self.revision));
        }
        Ok(Commit::Done(self.apply(transaction.writes)))
    }

    /// Watches a prefix from after a revision on.
    pub(crate) fn watch(&mut self, prefix: &Prefix, after: Revision) -> Result<Watch> {
        let missed: Vec<&Batch> = self
            .history
            .iter()
            .filter(|batch| batch.revision > after)
            .collect();
        if after < self.forgotten || missed.len() > BUFFER / 2 {
            return Err(Error::new(
                ErrorKind::Compacted,
                format!("the changes after revision {after} are no longer known"),
            ));
        }
        let (sender, watch) = Watch::new();
        let watcher = Watcher {
            prefix: prefix.clone(),
            sender,
        };
        for batch in missed {
            watcher.offer(batch);
        }
        self.watchers.push(watcher);
        Ok(watch)
    }

    /// Makes a lease.
    pub(crate) fn grant(&mut self, time_to_live: Duration, now: Instant) -> Lease {
        self.last_lease += 1;
        let lease = Lease(self.last_lease);
        let granted = Granted {
            time_to_live,
            ends: now + time_to_live,
            keys: BTreeSet::new(),
        };
        self.leases.insert(lease, granted);
        lease
    }

    /// Lets a lease run for its whole time again.
    pub(crate) fn renew(&mut self, lease: Lease, now: Instant) -> Result<()> {
        let granted = self
            .leases
            .get_mut(&lease)
            .ok_or_else(|| lease_gone(lease))?;
        granted.ends = now + granted.time_to_live;
        Ok(())
    }

    /// Ends a lease; what was put under it is to be removed.
    pub(crate) fn end(&mut self, lease: Lease) -> Vec<Write> {
        let granted = self.leases.remove(&lease);
        let keys = granted.map(|granted| granted.keys).unwrap_or_default();
        keys.into_iter().map(|key| Write::Delete { key }).collect()
    }

    /// The leases whose time is over.
    pub(crate) fn ended_leases(&self, now: Instant) -> Vec<Lease> {
        let ended = self
            .leases
            .iter()
            .filter(|(_, granted)| granted.ends <= now);
        ended.map(|(lease, _)| *lease).collect()
    }

    /// All leases.
    pub(crate) fn all_leases(&self) -> Vec<Lease> {
        self.leases.keys().copied().collect()
    }

    /// When the next lease ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.leases.values().map(|granted| granted.ends).min()
    }
}

impl Row {
    fn entry(&self, key: &Key) -> Entry {
        Entry {
            key: key.clone(),
            value: self.value.clone(),
            revision: self.revision,
        }
    }
}

impl Watcher {
    /// Passes on what concerns it; false where nobody listens any more, or not fast enough.
    fn offer(&self, batch: &Batch) -> bool {
        let changes: Vec<_> = batch
            .changes
            .iter()
            .filter(|change| self.prefix.is_of(change.key()))
            .cloned()
            .collect();
        if changes.is_empty() {
            return !self.sender.is_closed();
        }
        let revision = batch.revision;
        self.sender
            .try_send(Ok(Batch { revision, changes }))
            .is_ok()
    }
}

/// Whether a key stands before the end of what begins with the prefix.
fn is_at_or_before(prefix: &Prefix, key: &Key) -> bool {
    let prefix = prefix.as_str();
    let head = key.as_str().get(..prefix.len()).unwrap_or(key.as_str());
    head <= prefix
}

/// Refuses what no store takes.
pub(crate) fn check_size(transaction: &Transaction) -> Result<()> {
    if transaction.fits() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooLarge,
        format!(
            "a transaction with {} operations and {} bytes is above {} and {}",
            transaction.len(),
            transaction.bytes(),
            Transaction::MAX_LEN,
            Transaction::MAX_BYTES
        ),
    ))
}

/// That a lease has ended.
pub(crate) fn lease_gone(lease: Lease) -> Error {
    Error::new(ErrorKind::LeaseGone, format!("lease {} has ended", lease.0))
}
