//! Makes a machine fit to give devices away: what `vfioctl check` asks of the kernel command line,
//! of the modules at boot, of the initramfs and of limits.
//!
//! Three parts that know nothing of each other's ways. [`read_facts`] looks: it reads files below
//! a root folder, and takes what the kernel says from the caller. [`plan`] decides: from facts to
//! [`Edit`]s and [`Command`]s, without touching anything. [`apply`] does: each edit is on record
//! below `/var/lib/vfioctl/setup/` before it is made, so that [`plan_undo`] and [`apply_undo`]
//! bring every file back byte for byte, after a crash too.
//!
//! A second plan on a machine that was set up is empty. Programs are run through [`RunProgram`].
#![forbid(unsafe_code)]

mod apply;
mod boot_loader;
mod edit;
mod entry_file;
mod error;
mod facts;
mod file;
mod grub_file;
mod initramfs;
mod limits;
mod parameters;
mod paths;
mod plan;
mod program;
mod read;
mod record;
#[cfg(test)]
mod sample;
mod splice;
mod undo;

pub use apply::apply;
pub use boot_loader::{BootLoader, Chosen};
pub use edit::Edit;
pub use error::{Error, ErrorKind};
pub use facts::{Facts, Machine, Refresh};
pub use plan::{Command, Plan, plan};
pub use program::{LivePrograms, RunProgram};
pub use read::read_facts;
pub use undo::{UndoPlan, UndoStep, apply_undo, plan_undo};
