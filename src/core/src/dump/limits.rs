//! Every limit of the reader of dumps, each with its reason.

/// Longest text that is taken, in bytes. 4096 bytes of config space are 14 KiB of hexadecimal
/// text; the largest machines in use have some 4,000 functions, which is 56 MiB.
pub(super) const TEXT: usize = 64 << 20;

/// Most functions: as many as one domain has addresses.
pub(super) const FUNCTIONS: usize = 65_536;

/// So much of a line is looked at, in bytes; the longest that lspci writes has some 300.
pub(super) const LINE: usize = 4096;

/// Longest value of a comment that is kept, in bytes: a kernel command line ends at 4096.
pub(super) const COMMENT: usize = 4096;

/// Mail programs break the first line of a device at 72 columns; names are below 200.
pub(super) const CONTINUATIONS: usize = 3;
