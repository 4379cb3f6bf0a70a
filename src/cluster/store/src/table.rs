//! The table: what stands under which key, with leases, in memory. No clock and no waiting: it is
//! told what time it is.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::feed::Feed;
use crate::group::{Change, Group};
use crate::lease::Leases;
use crate::{
    Batch, Commit, Entry, Error, Key, Lease, Listing, Prefix, Result, Revision, Transaction, Watch,
    WatchedChange, Write,
};

/// What stands under which key.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<Key, Row>,
    revision: Revision,
    /// Of all keys and texts.
    bytes: usize,
    leases: Leases,
    feed: Feed,
}

#[derive(Debug)]
struct Row {
    value: Arc<[u8]>,
    revision: Revision,
    lease: Option<Lease>,
}

/// What is of interest to one who wants to write under a key. By default nothing stands there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// When it was written; 0: nothing stands there.
    pub(crate) revision: Revision,
    /// Whether it stays until it is removed: it goes with no lease.
    pub(crate) is_kept: bool,
}

impl Table {
    /// A table with what was kept of one before, which may have given out revisions up to this one.
    pub(crate) fn restored(kept: Vec<Entry>, revision: Revision) -> Self {
        let mut table = Self {
            revision,
            leases: Leases::after(i64::try_from(revision).unwrap_or_default()),
            feed: Feed::after(revision),
            ..Self::default()
        };
        for entry in kept {
            let row = Row {
                value: entry.value,
                revision: entry.revision,
                lease: None,
            };
            table.insert(entry.key, row);
        }
        table
    }

    /// The last revision.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Bytes of all keys and texts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What stands under a key.
    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        self.rows.get(key).map(|row| row.entry(key))
    }

    /// All that stands below a prefix.
    pub(crate) fn list(&self, prefix: &Prefix) -> Listing {
        let end = prefix.end();
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self
            .rows
            .range::<str, _>((Bound::Included(prefix.as_str()), end));
        Listing {
            entries: rows.map(|(key, row)| row.entry(key)).collect(),
            revision: self.revision,
        }
    }

    /// What one who wants to write there has to know.
    pub(crate) fn standing(&self, key: &Key) -> Standing {
        let row = self.rows.get(key);
        row.map_or_else(Standing::default, |row| Standing {
            revision: row.revision,
            is_kept: row.lease.is_none(),
        })
    }

    /// The lease of a write, where it has ended.
    pub(crate) fn missing_lease(&self, write: &Write) -> Option<Lease> {
        match write {
            Write::Put { lease, .. } => lease.filter(|lease| !self.leases.has(*lease)),
            Write::Delete { .. } => None,
        }
    }

    /// Does what a group has decided, and tells those who watch.
    pub(crate) fn apply(&mut self, group: Group) {
        for change in group.into_changes() {
            self.apply_change(change);
        }
    }

    fn apply_change(&mut self, change: Change) {
        let revision = change.revision;
        self.revision = revision;
        let changes = change.writes.into_iter().map(|write| match write {
            Write::Put { key, value, lease } => {
                let row = Row {
                    value,
                    revision,
                    lease,
                };
                let entry = row.entry(&key);
                self.insert(key, row);
                WatchedChange::Put(entry)
            }
            Write::Delete { key } => {
                self.remove(&key);
                WatchedChange::Deleted(key)
            }
        });
        let changes = changes.collect();
        self.feed.tell(Batch { revision, changes });
    }

    fn insert(&mut self, key: Key, row: Row) {
        self.remove(&key);
        if let Some(lease) = row.lease {
            self.leases.attach(lease, &key);
        }
        self.bytes += key.as_str().len() + row.value.len();
        self.rows.insert(key, row);
    }

    fn remove(&mut self, key: &Key) {
        let Some(row) = self.rows.remove(key) else {
            return;
        };
        if let Some(lease) = row.lease {
            self.leases.detach(lease, key);
        }
        self.bytes -= key.as_str().len() + row.value.len();
    }

    /// Does one transaction.
    pub(crate) fn commit(&mut self, transaction: Transaction) -> Result<Commit> {
        let mut group = Group::new(self);
        let commit = group.admit(self, transaction)?;
        self.apply(group);
        Ok(commit)
    }

    /// Watches a prefix from after a revision on.
    pub(crate) fn watch(&mut self, prefix: &Prefix, after: Revision) -> Result<Watch> {
        self.feed.watch(prefix, after)
    }

    /// Makes a lease.
    pub(crate) fn grant(&mut self, time_to_live: Duration, now: Instant) -> Result<Lease> {
        self.leases.grant(time_to_live, now)
    }

    /// Lets a lease run for its whole time again.
    pub(crate) fn renew(&mut self, lease: Lease, now: Instant) -> Result<()> {
        self.leases.renew(lease, now)
    }

    /// Ends a lease, and removes what was put under it.
    pub(crate) fn end(&mut self, lease: Lease) {
        let keys = self.leases.end(lease);
        if keys.is_empty() {
            return;
        }
        self.apply_change(Change {
            revision: self.revision + 1,
            writes: keys.into_iter().map(|key| Write::Delete { key }).collect(),
        });
    }

    /// A lease whose time is over.
    pub(crate) fn due(&self, now: Instant) -> Option<Lease> {
        self.leases.due(now)
    }

    /// Whether the time of this one is over.
    pub(crate) fn is_due(&self, lease: Lease, now: Instant) -> bool {
        self.leases.is_due(lease, now)
    }

    /// The lease that ends next.
    pub(crate) fn next_lease(&self) -> Option<Lease> {
        self.leases.next()
    }

    /// When the next lease ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.leases.next_end()
    }

    /// Ends all watches.
    pub(crate) fn end_watches(&mut self, why: impl Fn() -> Error) {
        self.feed.end(why);
    }
}

impl Row {
    fn entry(&self, key: &Key) -> Entry {
        Entry {
            key: key.clone(),
            value: Arc::clone(&self.value),
            revision: self.revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &mut Table, words: &[&str], value: &[u8]) {
        let key = Key::new(words).unwrap();
        let done = table.commit(Transaction::new().put(&key, value));
        assert!(matches!(done, Ok(Commit::Done(_))));
    }

    #[test]
    fn a_listing_has_what_is_below_and_nothing_beside() {
        let mut table = Table::default();
        let keys: [&[&str]; 7] = [
            &["a"],
            &["a", "b"],
            &["a-b"],
            &["a.b"],
            &["a0"],
            &["a", "~"],
            &["b"],
        ];
        for words in keys {
            put(&mut table, words, b"");
        }
        let below = |prefix: &Prefix| -> Vec<String> {
            let entries = table.list(prefix).entries;
            entries.iter().map(|entry| entry.key.to_string()).collect()
        };
        assert_eq!(below(&Prefix::new(&["a"]).unwrap()), ["a/b", "a/~"]);
        assert_eq!(below(&Prefix::new(&["a", "b"]).unwrap()), [""; 0]);
        assert_eq!(below(&Prefix::all()).len(), keys.len());
    }

    #[test]
    fn bytes_are_those_of_what_stands_there() {
        let mut table = Table::default();
        put(&mut table, &["a"], b"1234");
        put(&mut table, &["a"], b"12");
        put(&mut table, &["b"], b"");
        assert_eq!(table.bytes(), 4);
        let delete = Transaction::new().delete(&Key::new(&["a"]).unwrap());
        assert!(table.commit(delete).is_ok());
        assert_eq!(table.bytes(), 1);
    }

    #[test]
    fn a_restored_table_knows_nothing_of_what_was_before() {
        let key = Key::new(&["a"]).unwrap();
        let kept = Entry {
            key: key.clone(),
            value: (*b"1").into(),
            revision: 3,
        };
        let mut table = Table::restored(vec![kept], 9);
        assert_eq!(table.get(&key).map(|entry| entry.revision), Some(3));
        assert!(table.watch(&Prefix::all(), 8).is_err());
        assert!(table.watch(&Prefix::all(), 9).is_ok());
        put(&mut table, &["a"], b"2");
        assert_eq!(table.get(&key).map(|entry| entry.revision), Some(10));
    }
}
