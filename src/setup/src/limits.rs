//! Every limit of this crate, each with its reason.

use std::time::Duration;

/// Largest file that is read or edited, in bytes. Configuration files are a few KiB; this keeps a
/// wrong one from filling memory.
pub(crate) const MAX_FILE_BYTES: u64 = 4 << 20;

/// Most files taken from one folder. A machine has an entry for each kernel that is installed.
pub(crate) const MAX_FILES: usize = 4096;

/// Most lines of a change that are shown; the file itself says the rest.
pub(crate) const MAX_CHANGED_LINES: usize = 40;

/// Until a program has ended. An initramfs for each of several kernels takes minutes on a slow
/// disk.
pub(crate) const PROGRAM: Duration = Duration::from_secs(1800);

/// Between two looks at whether a program has ended.
pub(crate) const PROGRAM_PAUSE: Duration = Duration::from_millis(50);
