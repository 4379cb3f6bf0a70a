//! Every number that bounds something, with its reason.

use std::time::Duration;

/// Longest request. The largest one, a machine with every list full, is below 100 KiB.
pub(crate) const MAX_REQUEST_BYTES: usize = 256 << 10;
/// Connections at once. Each costs a thread with a stack of [`CONNECTION_STACK_BYTES`].
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// Connections at once of one user, so that no user can lock the others out.
pub(crate) const MAX_CONNECTIONS_A_USER: usize = 16;
/// Requests on one connection; a caller with more to ask connects again.
pub(crate) const MAX_REQUESTS_A_CONNECTION: usize = 10_000;
/// Stack of a connection's thread: the deepest call uses below 64 KiB.
pub(crate) const CONNECTION_STACK_BYTES: usize = 512 << 10;

/// How long a request may take to arrive once its first byte has.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long a connection may say nothing.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
/// How long a caller may take to read a reply before it is cut off.
pub(crate) const REPLY_TIME: Duration = Duration::from_secs(5);
/// Pause after the system ran out of descriptors or threads, before the next accept.
pub(crate) const ACCEPT_BACK_OFF: Duration = Duration::from_millis(200);
/// How long the helper stays with nothing to do when systemd can start it again.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// How long one write to sysfs may take. Drivers of large GPUs need seconds to let go or to
/// probe; what takes longer than this hangs, and is reported as hanging.
pub(crate) const WRITE_TIME: Duration = Duration::from_secs(30);
/// How often a bind that failed with `EAGAIN` is tried again (`pci_try_reset_function` could not
/// have the device lock, which a udev worker holds for a moment), and the pause between.
pub(crate) const BIND_RETRIES: (u32, Duration) = (20, Duration::from_millis(50));
/// How long recovery waits for a write that a killed helper's child still does. An honest write
/// ends within this; one that hangs is left for a later recovery.
pub(crate) const STRAGGLER_TIME: Duration = Duration::from_secs(5);
/// How long functions that were removed may take to be found again. The kernel waits for a link
/// to train up to a second itself (`drivers/pci/pci.c`, `pci_bridge_wait_for_secondary_bus`).
pub(crate) const RESCAN_TIME: Duration = Duration::from_secs(5);
/// Devices or ports that one request about ACS may name: more than any machine has GPUs.
pub(crate) const MAX_ACS_ADDRESSES: usize = 256;
/// How long a link may take to show what was written.
pub(crate) const READ_BACK_TIME: Duration = Duration::from_secs(2);
/// How long a call waits for the recovery that runs when the helper starts.
pub(crate) const START_RECOVERY_TIME: Duration = Duration::from_secs(90);
/// Results of recovery that are kept to be told.
pub(crate) const MAX_RECOVERED: usize = 64;

/// Machines of one user, running or stopped.
pub(crate) const MAX_MACHINES_A_USER: usize = 32;
/// Claims of one user: more devices than any machine has.
pub(crate) const MAX_CLAIMS_A_USER: usize = 64;
/// Containers of one user that have claims at once. All those of a node's runner are of one user;
/// this is sixteen on each card of a node with sixteen.
pub(crate) const MAX_CONTAINERS_A_USER: usize = 256;
/// Functions that one container may claim: four on each card of such a node. With every list full
/// and every label at its longest, all claims of a user are below 8 MiB.
pub(crate) const MAX_CONTAINER_FUNCTIONS: usize = 64;
/// Pins of one user: each was a claim once, and one of a device that is gone stays.
pub(crate) const MAX_PINS_A_USER: usize = 64;
/// Longest state file that is read back: a claim with every function of a domain in it.
pub(crate) const MAX_STATE_BYTES: u64 = 16 << 20;
/// How long systemd may take to start a unit's process.
pub(crate) const UNIT_START_TIME: Duration = Duration::from_secs(30);
/// How long a unit of the same name may take to go away: systemd forgets it once it has seen the end
/// of its last process, and removed its cgroup.
pub(crate) const UNIT_GONE_TIME: Duration = Duration::from_secs(10);
/// Longest D-Bus message that is taken from systemd; the specification allows 128 MiB.
pub(crate) const MAX_DBUS_BYTES: usize = 1 << 20;
/// How long one QMP command may take. QEMU answers from its main loop, which a device under
/// reset can hold for seconds.
pub(crate) const QMP_TIME: Duration = Duration::from_secs(10);
/// How long a status may take: it is asked for lists, where one deaf machine must not stop all.
pub(crate) const QMP_STATUS_TIME: Duration = Duration::from_secs(1);
/// Press of the power button, and no end: default wait, and the longest that may be asked for.
pub(crate) const STOP_TIME: Duration = Duration::from_secs(60);
/// See [`STOP_TIME`].
pub(crate) const MAX_STOP_TIME: Duration = Duration::from_secs(3600);
/// How long QEMU may take to end after 'quit' or a signal: it unpins and unmaps its memory.
pub(crate) const QUIT_TIME: Duration = Duration::from_secs(20);
/// How long devices may take home after QEMU's end: one write for each step, see [`WRITE_TIME`].
pub(crate) const HOME_TIME: Duration = Duration::from_secs(120);
/// Longest log of a machine's console; it lies in memory (`/run`), and a guest can write for ever.
pub(crate) const MAX_CONSOLE_BYTES: u64 = 8 << 20;
/// How often that log is looked at: an emulated serial port writes a few MiB in this time.
pub(crate) const CONSOLE_INTERVAL: Duration = Duration::from_secs(5);
/// How much of a machine's log is read for one call; as base64 a reply is below 90 KiB.
pub(crate) const LOG_CHUNK_BYTES: u64 = 64 << 10;
/// How much of QEMU's own log is quoted when it fails to start.
pub(crate) const LOG_TAIL_BYTES: usize = 2000;
