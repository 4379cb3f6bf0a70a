//! Transactions: what is written as a whole, and what must not have changed for that.

use crate::{Key, Lease, Revision};

/// What is written as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    pub(crate) guards: Vec<Guard>,
    pub(crate) writes: Vec<Write>,
}

/// What must not have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The key.
    pub key: Key,
    /// Its revision; 0: nothing stands there.
    pub revision: Revision,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Puts a text under a key.
    Put {
        /// The key.
        key: Key,
        /// The text.
        value: Vec<u8>,
        /// The lease that it goes with.
        lease: Option<Lease>,
    },
    /// Removes what stands under a key; nothing there is no error.
    Delete {
        /// The key.
        key: Key,
    },
}

/// What came of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// All was written.
    Done(Revision),
    /// A guarded key has changed; nothing was written.
    Conflict,
}

impl Transaction {
    /// Guards and writes together: what etcd takes, unless told otherwise (`--max-txn-ops`).
    pub const MAX_LEN: usize = 128;
    /// Bytes of all texts together: below what etcd takes (`--max-request-bytes` is 1.5 MiB).
    pub const MAX_BYTES: usize = 1 << 20;

    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// That nothing has changed under this key since the revision.
    #[must_use]
    pub fn if_unchanged(mut self, key: &Key, revision: Revision) -> Self {
        let key = key.clone();
        self.guards.push(Guard { key, revision });
        self
    }

    /// That nothing stands under this key.
    #[must_use]
    pub fn if_absent(self, key: &Key) -> Self {
        self.if_unchanged(key, 0)
    }

    /// Puts a text.
    #[must_use]
    pub fn put(mut self, key: &Key, value: Vec<u8>) -> Self {
        let (key, lease) = (key.clone(), None);
        self.writes.push(Write::Put { key, value, lease });
        self
    }

    /// Puts a text that goes with a lease.
    #[must_use]
    pub fn put_leased(mut self, key: &Key, value: Vec<u8>, lease: Lease) -> Self {
        let (key, lease) = (key.clone(), Some(lease));
        self.writes.push(Write::Put { key, value, lease });
        self
    }

    /// Removes what stands under a key.
    #[must_use]
    pub fn delete(mut self, key: &Key) -> Self {
        let key = key.clone();
        self.writes.push(Write::Delete { key });
        self
    }

    /// Whether it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Guards and writes together.
    pub fn len(&self) -> usize {
        self.guards.len() + self.writes.len()
    }

    /// Bytes of all texts together.
    pub fn bytes(&self) -> usize {
        let bytes = self.writes.iter().map(|write| match write {
            Write::Put { key, value, .. } => key.as_str().len() + value.len(),
            Write::Delete { key } => key.as_str().len(),
        });
        bytes.sum()
    }

    /// Whether it is no more than a store takes.
    pub(crate) fn fits(&self) -> bool {
        self.len() <= Self::MAX_LEN && self.bytes() <= Self::MAX_BYTES
    }
}
