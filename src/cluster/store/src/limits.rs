//! Every number that bounds something, with its reason. Those of a transaction are its constants.

use std::time::Duration;

/// Revisions that are kept for those who watch from an earlier one: at 2,000 changes a second, four
/// seconds to connect again in.
pub(crate) const HISTORY_LEN: usize = 8192;
/// Bytes of their texts, which would else be gigabytes where texts are large.
pub(crate) const HISTORY_BYTES: usize = 32 << 20;
/// Batches that a watch holds for somebody who does not read them. Whoever is slower than that is
/// told so.
pub(crate) const WATCH_BUFFER: usize = 1024;
/// Bytes of all texts in a store that is held in memory: what a host of 10,000 nodes needs is below
/// 100 MiB, and a store that grows past this does not serve a cluster, but somebody's error.
pub(crate) const STORE_BYTES: usize = 1 << 30;
/// Leases at once: one for each node, host and waiting request of a large cluster.
pub(crate) const LEASES: usize = 100_000;
/// Longest lease: what is kept for longer than a day is not held by a lease.
pub(crate) const LEASE_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Pause before leases that could not be ended are ended again.
pub(crate) const END_PAUSE: Duration = Duration::from_secs(1);
