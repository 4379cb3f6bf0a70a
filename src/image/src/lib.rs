//! Images of virtual machines: base images, thin overlays of them, and seeds for cloud-init.
//!
//! A [`Library`] is a folder of base images that nobody changes. Images come into it by [`Import`]
//! of a file, or by [`Recipe`] from Debian's packages. A machine's disk is an [`Overlay`] of one,
//! and its [`Seed`] tells it at the first boot who it is and who may log in.
//!
//! Everything here is done by the caller's own rights. Programs do the work on disks (`qemu-img`,
//! `mmdebstrap`, `mkfs.ext4`), and are run by their arguments, with limits. What is half done when
//! something fails, or when this process is killed, is removed.
#![forbid(unsafe_code)]

mod debian;
mod error;
mod file;
mod header;
mod import;
mod library;
mod limits;
mod name;
mod overlay;
mod program;
mod record;
mod removal;
mod seed;
mod size;
mod verification;
mod work;

pub use debian::{InvalidPackageName, PackageName, Recipe, Suite, Variant};
pub use error::{Error, ErrorKind};
pub use import::{Import, name_for};
pub use library::{Image, Library, Listing};
pub use name::{ImageName, InvalidImageName};
pub use overlay::Overlay;
pub use record::{Firmware, Origin, Record};
pub use seed::{
    AuthorizedKey, AuthorizedKeys, HostKey, HostName, InstanceId, InvalidHostKey, InvalidIdentity,
    InvalidKey, InvalidNvidiaVersion, MacAddress, Network, NvidiaVersion, Seed, SeedFiles,
    UserName,
};
pub use size::{DiskSize, InvalidDiskSize};
