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
/// Tasks whose end is kept in the journal: a host that was away for long learns of all of them.
pub(crate) const MAX_KEPT: usize = 5000;
/// Logs that are sent at once.
pub(crate) const MAX_LOGS: usize = 50;
/// How long a connection to a host is kept where it is not needed: a heartbeat and a little.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(12);
/// Longest answer of a host: 500 orders with every list full are some 40 MiB at the very most, and a
/// few KiB as a rule.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 << 20;

// Containers.

/// How long the engine may take to answer what needs no work.
pub(crate) const ENGINE_TIME: Duration = Duration::from_secs(20);
/// How long it may take to make or start a container: a slow disk, many layers, NVIDIA's hook.
pub(crate) const ENGINE_WORK_TIME: Duration = Duration::from_secs(120);
/// How long a pull, or a load of an archive, may go on without a word from the engine. Unpacking a
/// layer of 10 GB on a slow disk is silent for minutes.
pub(crate) const IMAGE_SILENCE: Duration = Duration::from_secs(900);
/// How often progress is told: people read it.
pub(crate) const PROGRESS_BEAT: Duration = Duration::from_millis(500);
/// How long the helper may take to answer a claim: a bind of the same group goes before it.
pub(crate) const CLAIM_TIME: Duration = Duration::from_secs(60);
/// How long a process that is asked to end has until it is killed; Docker's own default.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long the rest of a log may take after its container's end; with a full disk it would be endless.
pub(crate) const LOG_REST_TIME: Duration = Duration::from_secs(60);
/// Bytes that are kept of one log; the rest is cut, and the log says so.
pub(crate) const MAX_LOG_BYTES: u64 = 256 << 20;
/// Bytes of a log that are read at once.
pub(crate) const LOG_CHUNK: usize = 64 << 10;
/// How often a log that somebody follows is looked at.
pub(crate) const LOG_BEAT: Duration = Duration::from_millis(200);
/// Bytes of a log between two notes of how far it has come.
pub(crate) const LOG_NOTE_BYTES: u64 = 256 << 10;
/// Size at which the engine turns its own copy of a log over, and how many it keeps. Together they are
/// what a runner that is away for long can still read.
pub(crate) const ENGINE_LOG: (&str, &str) = ("128m", "5");
/// Processes and threads of a container. A fork bomb ends there; loaders of data for eight GPUs on 256
/// processors have some ten thousand.
pub(crate) const MAX_PIDS: i64 = 32_768;
/// Size of `/dev/shm` where no memory is named; half of the memory where it is. The engines' own 64 MiB
/// are less than what PyTorch's loaders want, and what is not used costs nothing.
pub(crate) const SHARED_MEMORY_BYTES: i64 = 8 << 30;
/// Headers of an archive that are looked at to tell what it is; what tells stands at its beginning.
pub(crate) const MAX_ARCHIVE_HEADERS: usize = 4096;
/// Longest CDI specification; NVIDIA's has some 200 KiB.
pub(crate) const MAX_CDI_BYTES: u64 = 4 << 20;
/// CDI specifications of a folder.
pub(crate) const MAX_CDI_FILES: usize = 64;
/// Longest answer of the engine about one container; all that it is told of one is below 1 MiB.
pub(crate) const MAX_ENGINE_ANSWER: usize = 8 << 20;
/// Containers that the engine is asked to list: more than run on any node.
pub(crate) const MAX_LISTED: u32 = 10_000;

// SSH into containers.

/// Connections to one container.
pub(crate) const MAX_SSH_CONNECTIONS: usize = 32;
/// Connections to one container that have not shown a key yet.
pub(crate) const MAX_SSH_STRANGERS: usize = 10;
/// Sessions of one connection; OpenSSH's own default is 10 (`MaxSessions`).
pub(crate) const MAX_SSH_SESSIONS: usize = 10;
/// Keys that a client may try; an agent has a few.
pub(crate) const MAX_SSH_ATTEMPTS: usize = 10;
/// How long a client has to show a key; OpenSSH's own default is 120 s (`LoginGraceTime`).
pub(crate) const SSH_LOGIN_TIME: Duration = Duration::from_secs(60);
/// How often a silent client is asked whether it is there; after three times without an answer it is not.
pub(crate) const SSH_KEEPALIVE: Duration = Duration::from_secs(60);
/// Variables that a client may send.
pub(crate) const MAX_SSH_VARIABLES: usize = 64;
/// Bytes of one of them.
pub(crate) const MAX_SSH_VARIABLE_BYTES: usize = 4096;
/// How long the end of a process may take to be known after its output has ended.
pub(crate) const EXEC_END_TIME: Duration = Duration::from_secs(30);
/// Processes of sessions in one container, over all connections.
pub(crate) const MAX_SSH_PROCESSES: usize = 32;
/// Messages, of at most 32 KiB each, that wait in each direction of a session: 4 MiB. More than a
/// socket holds, so that a client that sends and reads at once is never waited for by both sides.
pub(crate) const SSH_QUEUE: usize = 128;
