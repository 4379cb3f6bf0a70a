//! Every number that bounds something, with its reason.

use std::time::Duration;

/// How much before its end a lease counts as over: the host's clock runs as fast as this one's, and the
/// word about it travels.
pub(crate) const LEASE_MARGIN: Duration = Duration::from_secs(2);
/// How long after a failed exchange the next is tried, at first; doubled up to the longest.
pub(crate) const FIRST_RETRY: Duration = Duration::from_millis(200);
/// See [`FIRST_RETRY`]. Below a third of the lease, so that one host's restart changes nothing.
pub(crate) const LONGEST_RETRY: Duration = Duration::from_secs(4);
/// How much longer than asked for an answer may take.
pub(crate) const ANSWER_MARGIN: Duration = Duration::from_secs(10);
/// How long a host may take to answer what it need not wait for.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(20);
/// How long connecting to a host may take; the next one is tried after that.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How often the node is looked at as a whole where nothing has happened.
pub(crate) const REPORT_BEAT: Duration = Duration::from_secs(10);
/// Statuses in one exchange; more follow at once.
pub(crate) const MAX_STATUSES: usize = 500;
/// Pause after the engine or the helper could not be asked.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Pause after a journal could not be written: a disk that is full may have room again.
pub(crate) const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// Tasks whose end is kept in the journal, with their logs. A host is told of all of them when the
/// runner presents itself, and takes 2000 at once.
pub(crate) const MAX_KEPT: usize = 1500;
/// Logs that are sent at once.
pub(crate) const MAX_LOGS: usize = 50;
/// How long a connection to a host is kept where it is not needed: a heartbeat and a little.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(12);
/// Longest answer of a host: 500 orders with every list full are some 40 MiB at the very most, and a
/// few KiB as a rule.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 << 20;
