//! Every limit of the command, each with its reason.

use std::time::Duration;

/// Until the helper says who it is. systemd starts it on the first connection, which takes well
/// below a second; on a machine that swaps or has just booted, more.
pub(crate) const HELLO: Duration = Duration::from_secs(10);

/// Until the helper has looked at the machine or made a plan. 16,000 functions take it a few
/// seconds; a helper that has just started first takes home what an earlier one left, for which
/// it gives itself 90 s.
pub(crate) const LOOK: Duration = Duration::from_secs(120);

/// Until one step at a device is done. The helper gives each write 30 s, and where one hangs it
/// undoes the others before it answers; this is here only for a helper that hangs itself.
pub(crate) const STEP: Duration = Duration::from_secs(300);

/// Until recovery has brought everything home: one reply for several devices, each with steps.
pub(crate) const RECOVER: Duration = Duration::from_secs(900);

/// What a machine's start or end may take beyond QEMU's own time: binding its devices before,
/// bringing them home after.
pub(crate) const MACHINE_MARGIN: Duration = Duration::from_secs(300);

/// How long a machine has after its power button was pressed, in seconds, unless told otherwise.
/// Windows closes its programs within half a minute, and asks for more while it installs updates.
pub(crate) const POWERDOWN_S: u32 = 90;

/// Longest time a machine can be given to power down: the helper takes no more.
pub(crate) const LONGEST_POWERDOWN_S: i64 = 3600;

/// How often a followed log is looked at again; a person does not see the difference to at once.
pub(crate) const LOG_INTERVAL: Duration = Duration::from_millis(250);

/// How many looks at a followed log pass until the helper is asked whether the machine still
/// runs: two seconds.
pub(crate) const LOG_LOOKS_A_QUESTION: u32 = 8;

/// How much of a log is read at once, in bytes.
pub(crate) const LOG_CHUNK: usize = 64 * 1024;

/// Longest specification file that is read, in bytes; the parser refuses less than this itself,
/// and says so.
pub(crate) const SPEC_FILE: u64 = 1024 * 1024;

/// Longest dump that is read, in bytes: the reader takes 64 MiB, and says itself that one more
/// byte is too many.
pub(crate) const DUMP_FILE: u64 = (64 << 20) + 1;

/// Names of people in the state of a function that containers share: a list's column has room for
/// them, and 'vfioctl show' has all.
pub(crate) const NAMES_IN_A_STATE: usize = 3;

/// Bridges that do not isolate, named of one function beside the one that decides: real trees are
/// less than 20 deep, and 65,536 functions with 256 each would be gigabytes.
pub(crate) const BLOCKERS: usize = 31;

/// Longest way from a function up to its root port: buses have 256 numbers. A longer one is a
/// ring.
pub(crate) const UPSTREAM_PATH: usize = 256;

/// Functions that a picture has room for. More would be drawn too, yet nobody could read it: a
/// large server has a few hundred, with virtual functions a few thousand.
pub(crate) const PICTURE_FUNCTIONS: usize = 4096;

/// Until a connection to a cluster's host stands, TLS included. Across a continent that is four
/// times a fifth of a second; this leaves room for a lost packet or two.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);

/// Until a host begins to answer, and between two pieces of an answer. The host itself gives up on
/// its store after 10 s.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// Until a question to a host is answered whole: above the two before this.
pub(crate) const CALL: Duration = Duration::from_secs(60);

/// How long a host may be silent while it tells what happens: it says every 15 s that it is there.
/// A log has no such sign; after so long without a byte it is asked for anew, from where it was.
pub(crate) const SILENCE: Duration = Duration::from_secs(50);

/// Until the shell gets its completions: a person who has pressed Tab waits.
pub(crate) const COMPLETION: Duration = Duration::from_millis(300);

/// Until a host that is not trusted shows its certificate, which only makes the failure clearer.
pub(crate) const PRESENTED: Duration = Duration::from_secs(5);

/// How long a host may be away while somebody waits for something of it: it starts in seconds, and
/// an update of its machine takes a minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Pause before a host that did not answer is asked again; each is twice the one before, up to the
/// longest, so that a thousand waiting commands do not keep it from starting.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// See [`FIRST_PAUSE`].
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a server that is restarted may take to stop: a machine has 90 s after its power button
/// was pressed, and its devices must come home.
pub(crate) const STOP: Duration = Duration::from_secs(600);

/// How often a node that is watched is looked at again. Its telemetry is 5 s old at most.
pub(crate) const NODE_INTERVAL: Duration = Duration::from_secs(2);

/// Longest answer of a host that is read, in bytes. A page of 1000 tasks, each with a command and an
/// environment as long as they may be, would have 200 MiB; real ones have below one.
pub(crate) const ANSWER_BYTES: u64 = 256 << 20;

/// Longest event that is read, in bytes: a task whose submission is as long as it may be, twice.
pub(crate) const EVENT_BYTES: usize = 1 << 20;

/// Longest file with a certificate or a token that is read, in bytes: they have a few KiB.
pub(crate) const CLUSTER_FILE: u64 = 256 * 1024;

/// Longest token, in bytes: those of a host have 85.
pub(crate) const TOKEN_BYTES: usize = 512;

/// Longest file with public keys of SSH that is read, in bytes: 32 keys of 4096 bytes are allowed.
pub(crate) const KEY_FILE: u64 = 256 * 1024;

/// Tasks in one answer of a host, which gives no more; longer lists are asked for in pieces.
pub(crate) const TASKS_A_PAGE: u32 = 1000;

/// Tasks of one list, unless told otherwise, and at most: nobody reads more, and programs can ask
/// the host's interface itself.
pub(crate) const TASKS: u32 = 50;

/// See [`TASKS`].
pub(crate) const MOST_TASKS: i64 = 10_000;

/// Lines of the audit log, unless told otherwise, and at most: the host gives no more.
pub(crate) const AUDIT: u32 = 100;

/// See [`AUDIT`].
pub(crate) const MOST_AUDIT: i64 = 1000;
/// Longest CDI specification that is read; NVIDIA's has some 200 KiB.
pub(crate) const MAX_CDI_BYTES: u64 = 4 << 20;
/// CDI specifications of a folder.
pub(crate) const MAX_CDI_FILES: usize = 64;
