//! Where a cluster keeps what it knows.
//!
//! A [`Store`] holds texts under keys. Every change has a revision, which grows; a [`Transaction`]
//! is done as a whole, and only where every key it guards still has the revision that was seen; a
//! [`Watch`] tells every change in order; a [`Lease`] ends by itself unless it is renewed, and what
//! was put under it goes with it. That is all that hosts need to agree with each other, and no more
//! than etcd has (<https://etcd.io/docs/v3.5/learning/api/>), so nothing here is a protocol for
//! consensus of our own.
//!
//! There are three. [`EmbeddedStore`] keeps everything in one file, for one host. `EtcdStore`, behind
//! the feature `etcd`, lets several hosts share it. [`MemoryStore`] forgets everything at its end and
//! is what tests and simulations run on.
//!
//! # What callers may rely on
//!
//! All three pass the same cases (`contract`, behind the feature of that name). In words:
//!
//! * A read sees every transaction that was answered before it. A [`Listing`] is of one moment.
//! * Revisions grow, also over restarts, and are never given out twice. They are not dense. A
//!   transaction that changes nothing takes none.
//! * Guards are checked first, then leases: a transaction whose guards fail is a
//!   [`Commit::Conflict`], whatever else is wrong with it.
//! * A watch tells the changes of one transaction in one [`Batch`], sorted by key, and of what a
//!   lease took with it, too. Whoever is too slow gets an error after what there was, never a gap.
//!   Watching again from the last revision seen goes on where it ended, or says
//!   [`ErrorKind::Compacted`]; so does watching from a revision that the store has not reached.
//! * A lease lasts for its time, and may last a little longer: etcd counts whole seconds, and has a
//!   shortest time of its own. It ends by itself, and those who watch are told.
//! * What goes with a lease is gone at the latest when the lease ends. With an [`EmbeddedStore`] it
//!   is gone, and so are all leases, after the store was opened again; with etcd both go on.
//! * A text under a lease replaces what stood there before, for good, and a text without one that is
//!   put over it stays.
#![forbid(unsafe_code)]

#[cfg(feature = "contract")]
pub mod contract;
mod embedded;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod feed;
mod group;
mod key;
mod lease;
mod limits;
mod memory;
mod table;
mod timer;
mod transaction;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use embedded::EmbeddedStore;
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "etcd")]
pub use etcd::{EtcdOptions, EtcdStore, EtcdTls};
pub use key::{InvalidKey, Key, Prefix};
pub use memory::MemoryStore;
pub use transaction::{Commit, Guard, Transaction, Write};
pub use watch::{Batch, Watch, WatchedChange};

/// A number that grows with every change.
pub type Revision = u64;

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The text, which clones share.
    pub value: Arc<[u8]>,
    /// When it was written.
    pub revision: Revision,
}

/// All that stands below a prefix, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The entries, by key.
    pub entries: Vec<Entry>,
    /// The moment.
    pub revision: Revision,
}

/// A lease: it ends by itself unless it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub(crate) i64);

impl Lease {
    /// The lease of a number that a record holds.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Its number, for a record.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// Where a cluster keeps what it knows.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// What stands under a key.
    ///
    /// # Errors
    /// Where the store does not answer.
    async fn get(&self, key: &Key) -> Result<Option<Entry>>;

    /// All that stands below a prefix.
    ///
    /// # Errors
    /// Where the store does not answer.
    async fn list(&self, prefix: &Prefix) -> Result<Listing>;

    /// Does all writes of a transaction, or, where a guarded key has changed, none. A caller that
    /// does not wait for the answer does not know whether it was done.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: nothing was written. [`ErrorKind::Unknown`]: whether it was, is not
    /// known, and the caller has to look. [`ErrorKind::LeaseGone`], [`ErrorKind::TooLarge`]: nothing was
    /// written, and trying again will not help.
    async fn commit(&self, transaction: Transaction) -> Result<Commit>;

    /// Tells every change below a prefix after a revision, in order, none left out.
    ///
    /// # Errors
    /// Where the store does not answer; [`ErrorKind::Compacted`] where changes after that revision
    /// are no longer known, and the caller has to list anew.
    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch>;

    /// Makes a lease.
    ///
    /// # Errors
    /// Where the store does not answer.
    async fn grant(&self, time_to_live: Duration) -> Result<Lease>;

    /// Lets a lease run for its whole time again.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseGone`] where it has ended; others where the store does not answer.
    async fn renew(&self, lease: Lease) -> Result<()>;

    /// Ends a lease, and removes what was put under it. One that has ended already is no error.
    ///
    /// # Errors
    /// Where the store does not answer.
    async fn revoke(&self, lease: Lease) -> Result<()>;
}
