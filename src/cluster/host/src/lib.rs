//! The control plane of a cluster: it knows nodes and GPUs, and places work on them.
//!
//! A request comes in through `server` (TLS, bounds) and [`api`] (who may what, JSON), and is one call
//! of [`cluster::Cluster`], which reads the [`mirror`] of the store and writes through its ledger.
//! What is decided is decided in `vfioctl-scheduler`. Several hosts can run on one store; what they
//! agree on, they agree on by its transactions and leases alone.
//!
//! It holds no privilege: it can neither reach a device nor a file that is not its own.
#![forbid(unsafe_code)]

mod access;
pub mod api;
pub mod audit;
pub mod authority;
pub mod clock;
pub mod cluster;
mod command_line;
mod configuration;
mod dev;
mod files;
mod keeping;
mod keys;
pub mod limits;
pub mod mirror;
mod server;
mod start;

pub use start::run;

/// Whether clusters can be kept in etcd: a matter of how this was built.
pub const HAS_ETCD: bool = cfg!(feature = "etcd");

/// The definition of the command line, for man pages.
pub fn command() -> clap::Command {
    <command_line::CommandLine as clap::CommandFactory>::command()
}
use vfioctl_service::log;
