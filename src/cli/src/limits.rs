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
/// Longest CDI specification that is read; NVIDIA's has some 200 KiB.
pub(crate) const MAX_CDI_BYTES: u64 = 4 << 20;
/// CDI specifications of a folder.
pub(crate) const MAX_CDI_FILES: usize = 64;
