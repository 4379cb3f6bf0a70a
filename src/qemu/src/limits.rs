//! Limits on what others can make this crate hold, each with its reason.

/// Longest line of QMP, in bytes. The longest honest ones (`query-qmp-schema`) are a few hundred
/// KiB. A QEMU that its guest has taken over could send anything, and a line becomes some ten times
/// its size while it is read, so there is not much more room.
pub(crate) const QMP_LINE_BYTES: usize = 1024 * 1024;

/// Most events kept until someone asks for them. A machine's life has a few dozen; only a guest
/// that floods its host comes here.
pub(crate) const QMP_EVENTS: usize = 256;

/// Most bytes of lines whose events are kept. The count alone would allow 256 lines of 8 MiB.
pub(crate) const QMP_EVENT_BYTES: usize = 1024 * 1024;

/// How much is read from QEMU's socket at once, in bytes: more than nearly every line.
pub(crate) const QMP_READ_BYTES: usize = 16 * 1024;

/// Most of QEMU's own words shown to a person, in characters. Its errors are one sentence.
pub(crate) const QMP_SHOWN_CHARS: usize = 500;

/// Longest specification file, in bytes. A full one, with 8 disks of the longest paths, has less
/// than 48 KiB.
pub(crate) const SPEC_FILE_BYTES: usize = 64 * 1024;
