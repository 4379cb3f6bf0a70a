//! Every number that bounds something, with its reason.

/// Longest text of a spec: NVIDIA's, for sixteen GPUs with every MIG device, has some 200 KiB.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// Devices of a spec: above all MIG devices of sixteen GPUs, under three names each.
pub(crate) const MAX_DEVICES: usize = 4096;
/// Entries of one list of edits: NVIDIA's mounts are some hundred.
pub(crate) const MAX_ENTRIES: usize = 4096;
/// Bytes of one text: `PATH_MAX` of Linux.
pub(crate) const MAX_TEXT: usize = 4096;
/// Bytes of a name: the standard names none; nobody's is longer.
pub(crate) const MAX_NAME: usize = 128;
