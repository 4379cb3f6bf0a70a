//! Every limit of this crate, each with its reason.

use std::time::Duration;

/// Largest disk, in bytes: more than any machine here is given, and far below where the tables of
/// a qcow2 file would take gigabytes of memory by themselves.
pub(crate) const MAX_DISK_BYTES: u64 = 16 << 40;

/// Most images that are listed of one folder. A site has dozens.
pub(crate) const MAX_IMAGES: usize = 1024;

/// Largest description of an image, in bytes; one has less than 1 KiB.
pub(crate) const MAX_RECORD_BYTES: u64 = 64 << 10;

/// Longest name of a backing file in a qcow2 header (`docs/interop/qcow2.txt`).
pub(crate) const MAX_BACKING_NAME: u32 = 1023;

/// How deep overlays are looked for below the folder of machines: it has a folder for each user,
/// one for each machine, and the machine's files.
pub(crate) const MAX_DEPTH: usize = 4;

/// Most files and folders that are looked at for overlays. Past this nobody can say that no
/// overlay is there, and nothing is removed.
pub(crate) const MAX_LOOKED_AT: usize = 200_000;

/// Until whoever has the folder of images lets go. It is held for a rename or a search only.
pub(crate) const LOCK: Duration = Duration::from_secs(30);

/// Between two tries to get it.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How often a folder to work in is made anew where another run has swept it away at once.
pub(crate) const WORK_TRIES: usize = 5;

/// Until a program has ended that reads or writes a few blocks.
pub(crate) const SHORT_PROGRAM: Duration = Duration::from_secs(60);

/// Until a program has ended that reads or writes a whole disk: an image of hundreds of gigabytes
/// from a slow disk.
pub(crate) const LONG_PROGRAM: Duration = Duration::from_secs(3600);

/// Between two looks at whether a program has ended.
pub(crate) const PROGRAM_PAUSE: Duration = Duration::from_millis(10);

/// Most that is read of what a program answers; the longest is a list of a few thousand packages.
pub(crate) const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// How much is kept of what a program complains about, from its end.
pub(crate) const MAX_COMPLAINT_BYTES: usize = 4 << 10;

/// How much is copied at once, in bytes.
pub(crate) const COPY_BYTES: usize = 1 << 20;

/// Most keys that may log in. A user has a few.
pub(crate) const MAX_AUTHORIZED_KEYS: usize = 64;

/// Longest public key on its line, in bytes. RSA with 16,384 bits takes less than 3 KiB. So many of
/// them as there may be have room in a seed, even where each character takes two bytes there.
pub(crate) const MAX_KEY_BYTES: usize = 4 << 10;

/// Size of a seed's disk, in bytes: the smallest FAT that everything reads, and room for the keys.
pub(crate) const SEED_BYTES: usize = 1 << 20;

/// Most packages that may be added to a made image. Their names stand on one command line.
pub(crate) const MAX_PACKAGES: usize = 256;
