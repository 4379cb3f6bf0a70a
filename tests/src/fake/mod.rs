//! A machine in a folder, and a kernel that edits the folder as Linux would.
//!
//! [`Machine`] lays out `sys/`, `proc/`, `dev/` and `etc/` as [`vfioctl_scan::SysRoot`] reads
//! them. [`FakeKernel`] changes them as Linux 6.1 does (`tests::` holds it against the table of
//! what a real kernel answered), and can be told to fail, to hang, to do nothing or to die
//! ([`Fault`]). [`run_helper_if_asked`] makes this process a helper on such a folder, so that a
//! `kill -9` of it is one.
//!
//! What belongs to the kernel and not to the helper (id tables, writes that hang) is kept in the
//! folder too, below `kernel/`: it outlives the helper, as a kernel does.

mod config;
mod fault;
mod folder;
mod function;
mod helper;
mod kernel;
mod lab_like;
mod machine;
mod regroup;
#[cfg(test)]
mod tests;

pub use config::Port;
pub use fault::{Fault, Faults};
pub use folder::{Listing, list};
pub use function::Function;
pub use helper::{SOCKET_GROUP, run_helper_if_asked, start_helper};
pub use kernel::FakeKernel;
pub use lab_like::lab_like;
pub use machine::Machine;
