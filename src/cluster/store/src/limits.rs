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

/// Bytes of transactions that wait for the file, with [`REQUEST_BYTES`] for each. A disk that takes
/// 50 MB a second needs a second for them; whoever comes later waits for room.
pub(crate) const QUEUE_BYTES: usize = 64 << 20;
/// What a waiting transaction counts besides its texts, so that small ones are bounded in number.
pub(crate) const REQUEST_BYTES: usize = 4 << 10;
/// How long a caller waits for room in the queue. An honest disk writes all of it in that time.
pub(crate) const QUEUE_TIME: Duration = Duration::from_secs(5);
/// How long a caller waits for its transaction to be on disk: a disk that takes longer hangs.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Transactions that are made durable together. More of them do not make a group cheaper for each,
/// and all of them wait for the last one.
pub(crate) const GROUP_LEN: usize = 1024;
/// Bytes of their texts, after which no more are added.
pub(crate) const GROUP_BYTES: usize = 16 << 20;
/// Pause before a file that could not be written is opened again, for that reads all of it.
pub(crate) const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// Revisions that the file says may have been given out, ahead of those that were. Each crash skips
/// up to as many; JSON's numbers (2^53) last for 500 million crashes.
pub(crate) const REVISIONS_AHEAD: u64 = 1 << 24;
/// Memory for pages of the file. All reads are served from the table, so it only helps writes, and the
/// system has the pages too.
pub(crate) const PAGE_CACHE_BYTES: usize = 8 << 20;
/// How long an open file's lock is waited for, and how often it is looked at. A process that ended
/// may have been starting a program, which has the lock until it runs.
pub(crate) const LOCK_TIME: Duration = Duration::from_millis(500);
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Length of a file below which it is not worth making it shorter.
pub(crate) const COMPACT_FROM_BYTES: u64 = 16 << 20;

/// How long etcd may take for one call. It answers within milliseconds, or after an election of its
/// leader, which takes up to two seconds (`--election-timeout` is 1 s).
#[cfg(feature = "etcd")]
pub(crate) const CALL_TIME: Duration = Duration::from_secs(5);
/// How long a connection to one of its members may take to be made, so that there is time left for
/// another one.
#[cfg(feature = "etcd")]
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How often a call that one member did not take is tried for each of them, and the pause before: the
/// balance between them knows of a dead one only by such failures.
#[cfg(feature = "etcd")]
pub(crate) const MEMBER_TRIES: usize = 3;
#[cfg(feature = "etcd")]
pub(crate) const MEMBER_PAUSE: Duration = Duration::from_millis(20);
/// How often a silent connection is asked for a sign of life, and how long that may take. More often
/// than each 5 s, etcd takes for an attack (`--grpc-keepalive-min-time`).
#[cfg(feature = "etcd")]
pub(crate) const KEEP_ALIVE: (Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(5));
/// Entries of one page of a listing. It is halved where their texts do not fit into a message.
#[cfg(feature = "etcd")]
pub(crate) const PAGE_LEN: i64 = 1000;
/// How often a listing begins anew whose moment was compacted while its pages were read.
#[cfg(feature = "etcd")]
pub(crate) const LIST_TRIES: usize = 3;
/// How long a watch waits for a reader before it is called slow. Changes of the past come at once,
/// more than are held.
#[cfg(feature = "etcd")]
pub(crate) const SLOW_TIME: Duration = Duration::from_secs(3);
