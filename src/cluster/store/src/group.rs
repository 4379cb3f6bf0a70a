//! Groups: transactions that are checked in order, each as if those before it were done, and are
//! then done together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits::STORE_BYTES;
use crate::table::{Standing, Table};
use crate::{Commit, Error, ErrorKind, Key, Result, Revision, Transaction, Write, lease};

/// Transactions that may be done together.
#[derive(Debug)]
pub(crate) struct Group {
    /// What will stand under the keys that it writes.
    seen: BTreeMap<Key, Standing>,
    changes: Vec<Change>,
    revision: Revision,
    bytes: usize,
}

/// What a transaction writes, and when.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) revision: Revision,
    /// By key, and only what makes a difference.
    pub(crate) writes: Vec<Write>,
}

/// What is to stand in a file: a text and its revision, or nothing.
pub(crate) type Kept = Option<(Revision, Arc<[u8]>)>;

impl Group {
    /// An empty one, to be done to the table as it is now.
    pub(crate) fn new(table: &Table) -> Self {
        Self {
            seen: BTreeMap::new(),
            changes: Vec::new(),
            revision: table.revision(),
            bytes: table.bytes(),
        }
    }

    /// Takes a transaction in, where it may be done. The answer holds once the group is done.
    pub(crate) fn admit(&mut self, table: &Table, transaction: Transaction) -> Result<Commit> {
        transaction.check_size()?;
        let guards = &transaction.guards;
        if !guards
            .iter()
            .all(|guard| self.standing(table, &guard.key).revision == guard.revision)
        {
            return Ok(Commit::Conflict);
        }
        let mut writes = transaction.writes;
        if let Some(lease) = writes.iter().find_map(|write| table.missing_lease(write)) {
            return Err(lease::gone(lease));
        }
        // Removing what is not there changes nothing, and so there is nothing to tell of it.
        writes.retain(|write| match write {
            Write::Put { .. } => true,
            Write::Delete { key } => self.standing(table, key).revision != 0,
        });
        if writes.is_empty() {
            return Ok(Commit::Done(self.revision));
        }
        self.check_room(&writes)?;
        writes.sort_by(|one, other| one.key().cmp(other.key()));
        self.revision += 1;
        let revision = self.revision;
        for write in &writes {
            let standing = match write {
                Write::Put { lease, .. } => Standing {
                    revision,
                    is_kept: lease.is_none(),
                },
                Write::Delete { .. } => Standing::default(),
            };
            self.seen.insert(write.key().clone(), standing);
        }
        self.changes.push(Change { revision, writes });
        Ok(Commit::Done(revision))
    }

    /// Refuses what grows a store past all bounds. What is replaced is not counted against what
    /// replaces it, which makes a difference only to a store that is about full.
    fn check_room(&mut self, writes: &[Write]) -> Result<()> {
        let puts = writes
            .iter()
            .filter(|write| matches!(write, Write::Put { .. }));
        let more: usize = puts.map(Write::bytes).sum();
        if more > 0 && self.bytes + more > STORE_BYTES {
            let what = format!(
                "the store holds {} bytes; {STORE_BYTES} are the most",
                self.bytes
            );
            return Err(Error::new(ErrorKind::Unavailable, what));
        }
        self.bytes += more;
        Ok(())
    }

    fn standing(&self, table: &Table, key: &Key) -> Standing {
        let seen = self.seen.get(key).copied();
        seen.unwrap_or_else(|| table.standing(key))
    }

    /// The revision once it is done.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// What it changes in a file that holds all but what goes with leases.
    pub(crate) fn kept(&self, table: &Table) -> BTreeMap<Key, Kept> {
        let mut kept = BTreeMap::new();
        for change in &self.changes {
            for write in &change.writes {
                match write {
                    Write::Put { key, value, lease } if lease.is_none() => {
                        let now = (change.revision, Arc::clone(value));
                        kept.insert(key.clone(), Some(now));
                    }
                    // Also where a text is put under a lease: what it replaces must not come back.
                    Write::Put { key, .. } | Write::Delete { key } => {
                        if kept.contains_key(key) || table.standing(key).is_kept {
                            kept.insert(key.clone(), None);
                        }
                    }
                }
            }
        }
        kept
    }

    /// All that it changes.
    pub(crate) fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::Instant;

    fn key(word: &str) -> Key {
        Key::new(&[word]).unwrap()
    }

    fn admit(group: &mut Group, table: &Table, transaction: Transaction) -> Commit {
        group.admit(table, transaction).unwrap()
    }

    #[test]
    fn each_is_checked_as_if_those_before_were_done() {
        let table = Table::default();
        let mut group = Group::new(&table);
        let make = || {
            Transaction::new()
                .if_absent(&key("a"))
                .put(&key("a"), *b"1")
        };
        assert_eq!(admit(&mut group, &table, make()), Commit::Done(1));
        assert_eq!(admit(&mut group, &table, make()), Commit::Conflict);
        let next = Transaction::new()
            .if_unchanged(&key("a"), 1)
            .delete(&key("a"));
        assert_eq!(admit(&mut group, &table, next), Commit::Done(2));
        let vain = Transaction::new().delete(&key("a"));
        assert_eq!(admit(&mut group, &table, vain), Commit::Done(2));
        assert_eq!(admit(&mut group, &table, make()), Commit::Done(3));
        assert_eq!(table.revision(), 0, "nothing is done before all is");
    }

    #[test]
    fn a_file_keeps_what_goes_with_no_lease() {
        let mut table = Table::default();
        let lease = table.grant(Duration::from_secs(9), Instant::now()).unwrap();
        let old = Transaction::new()
            .put(&key("old"), *b"1")
            .put(&key("gone"), *b"1");
        assert!(matches!(table.commit(old), Ok(Commit::Done(1))));

        let mut group = Group::new(&table);
        let leased = Transaction::new()
            .put_leased(&key("old"), *b"2", lease)
            .put_leased(&key("new"), *b"2", lease)
            .delete(&key("gone"));
        assert_eq!(admit(&mut group, &table, leased), Commit::Done(2));
        let none = |word| (key(word), None);
        let expected = BTreeMap::from([none("gone"), none("old")]);
        assert_eq!(group.kept(&table), expected);

        let put = Transaction::new().put(&key("new"), *b"3");
        assert_eq!(admit(&mut group, &table, put), Commit::Done(3));
        let kept = group.kept(&table);
        assert_eq!(kept.get(&key("new")), Some(&Some((3, (*b"3").into()))));
        let over = Transaction::new().put_leased(&key("new"), *b"4", lease);
        assert_eq!(admit(&mut group, &table, over), Commit::Done(4));
        assert_eq!(group.kept(&table).get(&key("new")), Some(&None));
    }

    #[test]
    fn a_full_store_takes_nothing_but_removals() {
        let mut table = Table::default();
        let whole = Transaction::MAX_BYTES - 255;
        let value: Arc<[u8]> = vec![0; whole].into();
        let mut refused = None;
        for number in 0..=STORE_BYTES / whole {
            let put = Transaction::new().put(&key(&number.to_string()), Arc::clone(&value));
            refused = table.commit(put).err();
        }
        let refused = refused.map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::Unavailable));
        let revision = table.revision() + 1;
        let delete = table.commit(Transaction::new().delete(&key("0")));
        assert!(matches!(delete, Ok(Commit::Done(done)) if done == revision));
        let again = table.commit(Transaction::new().put(&key("0"), value));
        assert!(again.is_ok());
    }
}
