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
/// Until the helper says who it is: systemd starts it on the first connection.
pub(crate) const HELPER_GREETING: Duration = Duration::from_secs(5);
/// Until the helper has looked at the machine. A helper that has just started takes home first what an
/// earlier one left, for which it gives itself 90 s.
pub(crate) const HELPER_LOOK: Duration = Duration::from_secs(100);
/// How long a look at the GPUs is waited for; what was seen last stands until it has ended. A helper that
/// answers does so within a second.
pub(crate) const GPU_LOOK: Duration = Duration::from_secs(15);
/// How long sensors of GPUs are waited for: a driver that resets its card answers after that.
pub(crate) const GPU_SENSORS: Duration = Duration::from_secs(2);
/// How long one reading of NVML may take: without persistence mode the driver starts each GPU for it, and
/// a board with 16 takes half a minute.
pub(crate) const NVML_READ: Duration = Duration::from_secs(60);
/// How long a heartbeat waits for a reading of NVML; what comes later is told with the next.
pub(crate) const NVML_PATIENCE: Duration = Duration::from_secs(1);
/// How long a first look at the GPUs waits for it, so that their UUIDs and memory are there from the start.
pub(crate) const NVML_FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two readings of NVML: a heartbeat has 5 s.
pub(crate) const NVML_PAUSE: Duration = Duration::from_secs(4);
/// A reading is followed by a pause so many times as long, so that GPUs are open a fiftieth of the time.
pub(crate) const NVML_SHARE: u32 = 50;
/// Longest pause between two readings.
pub(crate) const NVML_LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// Pause after a reading without an answer: a driver may have been installed, loaded or mended.
pub(crate) const NVML_ABSENT_PAUSE: Duration = Duration::from_secs(60);
/// How long a reader of NVML that is killed may take to end; one whose driver hangs does not.
pub(crate) const NVML_KILL: Duration = Duration::from_secs(2);
/// How long whoever wants a GPU waits for a reading to end; it is killed at once.
pub(crate) const NVML_LET_GO: Duration = Duration::from_secs(5);
/// Longest answer of a reader: a GPU has some 400 bytes.
pub(crate) const NVML_MAX_ANSWER_BYTES: u64 = 1 << 20;
/// How long the helper may take from one step of grouping GPUs anew to the next: a driver that lets go
/// of its card, or the kernel that finds it again.
pub(crate) const ACS_STEP: Duration = Duration::from_secs(30);
/// How long the node's first report waits for that: systemd waits 90 s for the runner.
pub(crate) const ACS_TIME: Duration = Duration::from_secs(60);
/// How long what still hangs in a driver may hold the end of the runner.
pub(crate) const END_TIME: Duration = Duration::from_secs(1);

// Machines.

/// How long the helper may take to answer a question about machines. It asks each QEMU for its status, a
/// second at most, and there are 32.
pub(crate) const HELPER_ANSWER: Duration = Duration::from_secs(60);
/// How long the helper may take from one sentence to the next while it starts or ends a machine: a driver
/// that lets go of its card, or the whole way home of the devices, see its own limits.
pub(crate) const HELPER_STEP: Duration = Duration::from_secs(180);
/// Questions to the helper at once, about machines. It takes 16 connections of one user, and GPUs and
/// containers have questions too.
pub(crate) const HELPER_QUESTIONS: usize = 2;
/// Machines that are started at once, and those that are ended: each holds a connection for as long as it
/// takes, and memory is pinned one page after the other anyway.
pub(crate) const HELPER_STARTS: usize = 4;
/// See [`HELPER_STARTS`].
pub(crate) const HELPER_ENDS: usize = 4;
/// How long the guest has to power off after its button was pressed: systemd gives a service 90 s.
pub(crate) const POWERDOWN_TIME: Duration = Duration::from_secs(100);
/// How often a machine is asked whether it still runs.
pub(crate) const MACHINE_BEAT: Duration = Duration::from_secs(2);
/// How often a start that is not wanted any more is tried to be ended.
pub(crate) const CANCEL_BEAT: Duration = Duration::from_secs(1);
/// How long a server of SSH may take to say that it is one: it does so before anything is asked of it.
pub(crate) const SSH_BANNER_TIME: Duration = Duration::from_secs(2);
/// After how long a machine that boots is said to be waited for.
pub(crate) const BOOT_TIME: Duration = Duration::from_secs(20);
/// After how long a machine without SSH is a problem. One without KVM needs two minutes, and the first
/// boot of a large image has much to do.
pub(crate) const SSH_TIME: Duration = Duration::from_secs(600);
/// How often SSH is tried after that.
pub(crate) const SSH_LATE_BEAT: Duration = Duration::from_secs(30);
/// Bytes of a machine's log that are kept beyond its run; the helper cuts a console at so many.
pub(crate) const MAX_MACHINE_LOG: u64 = 8 << 20;
/// How often the log of a machine that somebody follows is looked at: each look is a question to the helper.
pub(crate) const MACHINE_LOG_BEAT: Duration = Duration::from_secs(1);
/// How long passt may take to begin. It takes milliseconds, unless name servers are looked up.
pub(crate) const PASST_START: Duration = Duration::from_secs(10);
/// How long the relay may take to say that the network is ready.
pub(crate) const RELAY_START: Duration = Duration::from_secs(20);
/// How long the relay may take to end after it was told to.
pub(crate) const RELAY_END: Duration = Duration::from_secs(3);
/// How much longer than QEMU's start the relay waits for it: devices are taken before.
pub(crate) const RELAY_MARGIN: Duration = Duration::from_secs(600);
/// How long it is believed that passt works here, or does not.
pub(crate) const PASST_BELIEVED: Duration = Duration::from_secs(60);
/// Between two looks at a process that is expected to end.
pub(crate) const POLL_PAUSE: Duration = Duration::from_millis(10);
/// How long QEMU may take to say its version.
pub(crate) const VERSION_TIME: Duration = Duration::from_secs(10);
/// Ports that are tried at most before there counts as being none.
pub(crate) const MAX_PORTS_TRIED: usize = 2000;
/// Memory that QEMU needs beside that of its guest, in MiB: page tables, caches of disks, video memory.
pub(crate) const QEMU_MEMORY_MIB: u64 = 256;
/// Sentences of the helper that wait to be told; it says one every two seconds.
pub(crate) const MAX_SENTENCES: usize = 64;

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
/// Events of a container that are looked at; Docker keeps 256 of all.
pub(crate) const MAX_EVENTS: usize = 1000;
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
/// Bytes that a process has not read yet, from which on its client is not listened to: one window.
pub(crate) const SSH_INPUT: usize = 2 << 20;
/// How long output waits for a client until it is listened to all the same.
pub(crate) const SSH_STALL_TIME: Duration = Duration::from_millis(100);
/// How often it is looked whether to listen to a client again.
pub(crate) const SSH_PAUSE: Duration = Duration::from_millis(10);
/// Bytes that are kept for a process at the very most; a client that sends more and never reads is cut off.
pub(crate) const MAX_SSH_INPUT: usize = 32 << 20;
/// Pieces of output, of at most 32 KiB, that wait for a client.
pub(crate) const SSH_OUTPUT: usize = 32;
/// How long a client that has hung up may take to be noticed by what it left to be read.
pub(crate) const SSH_HANG_UP_TIME: Duration = Duration::from_secs(30);
