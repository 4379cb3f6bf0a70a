//! Transactions: what is written as a whole, and what must not have changed for that.

use std::sync::Arc;

use crate::{Error, ErrorKind, Key, Lease, Result, Revision};

/// What is written as a whole. Each key is written once: where one is named again, what was said
/// last counts.
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
        value: Arc<[u8]>,
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

impl Write {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// Bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.as_str().len() + value.len(),
            Self::Delete { key } => key.as_str().len(),
        }
    }
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
    pub fn put(self, key: &Key, value: impl Into<Arc<[u8]>>) -> Self {
        self.write(Write::Put {
            key: key.clone(),
            value: value.into(),
            lease: None,
        })
    }

    /// Puts a text that goes with a lease.
    #[must_use]
    pub fn put_leased(self, key: &Key, value: impl Into<Arc<[u8]>>, lease: Lease) -> Self {
        self.write(Write::Put {
            key: key.clone(),
            value: value.into(),
            lease: Some(lease),
        })
    }

    /// Removes what stands under a key.
    #[must_use]
    pub fn delete(self, key: &Key) -> Self {
        self.write(Write::Delete { key: key.clone() })
    }

    fn write(mut self, write: Write) -> Self {
        // Past the limit nobody takes it anyway, and the search would be in vain.
        let earlier = match self.writes.len() {
            0..=Self::MAX_LEN => self.writes.iter_mut().find(|at| at.key() == write.key()),
            _ => None,
        };
        match earlier {
            Some(earlier) => *earlier = write,
            None => self.writes.push(write),
        }
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
        self.writes.iter().map(Write::bytes).sum()
    }

    /// Refuses what no store takes.
    pub(crate) fn check_size(&self) -> Result<()> {
        if self.len() <= Self::MAX_LEN && self.bytes() <= Self::MAX_BYTES {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "a transaction of {} operations with {} bytes is more than {} and {}",
                self.len(),
                self.bytes(),
                Self::MAX_LEN,
                Self::MAX_BYTES
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_written_twice_is_written_as_was_said_last() {
        let key = Key::new(&["a"]).unwrap();
        let transaction = Transaction::new().put(&key, *b"1").delete(&key);
        assert_eq!(transaction.writes, [Write::Delete { key: key.clone() }]);
        assert_eq!(transaction.bytes(), 1);
        let again = transaction.put(&key, *b"22");
        assert_eq!((again.len(), again.bytes()), (1, 3));
    }
}
