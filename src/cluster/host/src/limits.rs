//! Every number that bounds something, with its reason.

use std::time::Duration;

/// How long a node counts as there after its runner was heard of: three heartbeats, so that one that
/// is lost changes nothing.
pub const LEASE: Duration = Duration::from_secs(15);
/// How often a runner comes where it has nothing to say.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a host is the leader after it was heard of.
pub(crate) const LEADER_LEASE: Duration = Duration::from_secs(5);
/// How often the leader says so, and others look whether there is one.
pub(crate) const LEADER_BEAT: Duration = Duration::from_millis(1500);
/// How often what waits is looked at even where nothing has changed: pauses after failed starts end.
pub(crate) const QUEUE_BEAT: Duration = Duration::from_secs(1);

/// Operations that wait for the ledger; a caller beyond that waits to wait.
pub(crate) const MAX_WAITING: usize = 4096;
/// How long an operation may take with everything that waits before it. A caller who is told nothing
/// for longer asks again, and that is harmless.
pub(crate) const OPERATION_TIME: Duration = Duration::from_secs(10);
/// How often a batch is tried again after another host was faster.
pub(crate) const MAX_CONFLICTS: u32 = 20;
/// Waiting tasks that are placed in one go; the next go follows at once.
pub(crate) const MAX_PLACED: usize = 1000;

/// Tasks that are kept after their end; the oldest go first.
pub(crate) const MAX_TASKS_KEPT: usize = 50_000;
/// How long tasks are kept after their end.
pub(crate) const TASK_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tasks of one user that wait or run at once.
pub(crate) const MAX_TASKS_A_USER: usize = 20_000;
/// Numbers that are tried for a task before there counts as being none: of 33 million in a second, a few
/// thousand are taken.
pub(crate) const MAX_NUMBERS_TRIED: u32 = 1000;
/// Tasks in one answer, and where nothing is said.
pub(crate) const MAX_PAGE: u32 = 1000;
/// See [`MAX_PAGE`].
pub(crate) const PAGE: u32 = 50;

/// Users of a cluster, tokens of a user, nodes: more than anybody has.
pub(crate) const MAX_USERS: usize = 10_000;
/// See [`MAX_USERS`].
pub(crate) const MAX_TOKENS_A_USER: usize = 100;
/// See [`MAX_USERS`].
pub(crate) const MAX_NODES: usize = 20_000;
/// How long a token to join can be used where nothing is said, and at most.
pub(crate) const JOIN_TIME: Duration = Duration::from_secs(3600);
/// See [`JOIN_TIME`].
pub(crate) const MAX_JOIN_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of a note.
pub(crate) const MAX_NOTE: usize = 200;

/// Longest body of a user's request: a submission with every list full is below 300 KiB.
pub(crate) const MAX_BODY: usize = 1 << 20;
/// Longest body of a runner's: the report of 64 GPUs and 1000 statuses is below 1 MiB.
pub(crate) const MAX_RUNNER_BODY: usize = 4 << 20;
/// GPUs of one node.
pub(crate) const MAX_GPUS: usize = 64;
/// Statuses in one exchange.
pub(crate) const MAX_STATUSES: usize = 2000;
/// How long a runner may be kept waiting for orders: below what middleboxes and clients take for a dead
/// connection.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(25);

/// Connections at once: a runner has a second one while it has something to tell, and users have some. Each
/// costs some 10 KiB while a runner waits on it, and 30 KiB while a request is under way or expected.
pub const MAX_CONNECTIONS: usize = 30_000;
/// Connections at once from one address: a site behind one address has many nodes.
pub(crate) const MAX_CONNECTIONS_AN_ADDRESS: usize = 24_000;
/// How long a connection may take to agree on TLS.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a request's head may take to arrive once the connection stands or the last one was answered.
/// A runner that waits for its heartbeat is silent for [`HEARTBEAT`].
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long a request may take from its head to the head of its answer; a runner's may wait for orders.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Pause after the system ran out of descriptors, before the next accept.
pub(crate) const ACCEPT_BACK_OFF: Duration = Duration::from_millis(200);
/// How long requests that are under way may take when the host ends.
pub(crate) const FAREWELL: Duration = Duration::from_secs(5);

/// Streams of events at once; each holds a connection and a place in a queue.
pub(crate) const MAX_STREAMS: usize = 2000;
/// Events that a stream may be behind before it is cut off.
pub(crate) const STREAM_LAG: usize = 4096;
/// How often a stream of events says that it is still there (`:` in server-sent events).
pub(crate) const STREAM_BEAT: Duration = Duration::from_secs(15);
/// How long a runner may take until it begins to send a log, whether or not there is anything in it.
pub(crate) const LOG_TIME: Duration = Duration::from_secs(20);
/// Logs that are read at once.
pub(crate) const MAX_LOGS: usize = 500;
/// Pieces of a log that wait for a slow reader.
pub(crate) const LOG_PIECES: usize = 32;

/// Lines of the audit log in one answer.
pub(crate) const MAX_AUDIT: usize = 1000;
/// Size at which the audit log is put aside and begun anew; one older one is kept.
pub(crate) const MAX_AUDIT_BYTES: u64 = 64 << 20;
