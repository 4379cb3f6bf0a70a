//! Machines: starting QEMU as its user, watching it, and taking its devices home.

mod create;
mod dbus;
mod direct;
mod launch;
mod lifetime;
mod monitor;
mod plan;
mod record;
mod registry;
mod start;
mod stop;
mod systemd;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::peer::Peer;

pub(crate) use create::{create, remove};
pub use direct::DirectLauncher;
pub(crate) use lifetime::adopt_all;
pub(crate) use plan::plan;
pub(crate) use registry::{Machine, Machines};
pub(crate) use start::start_again;
pub(crate) use stop::{How, stop};
pub use systemd::SystemdLauncher;

/// What starts QEMU.
pub trait Launcher: Send + Sync + fmt::Debug {
    /// Starts a program as a user, confined, and tells its process.
    ///
    /// # Errors
    /// A sentence that says what went wrong. Nothing runs then.
    fn start(&self, request: &LaunchRequest<'_>) -> Result<Launched, String>;

    /// The unit that a machine would run in, where it would run in one.
    fn unit_name(&self, uid: u32, name: &str) -> Option<String> {
        let _ = (uid, name);
        None
    }

    /// The process of a unit that an earlier helper started, where it still runs.
    fn find(&self, unit: &str) -> Option<u32>;

    /// Whether the helper itself is the one that forks, and so needs the power to.
    fn forks(&self) -> bool;
}

/// What is to be started.
#[derive(Debug)]
pub struct LaunchRequest<'a> {
    /// The machine's user, who called.
    pub peer: &'a Peer,
    /// The machine's name.
    pub name: &'a str,
    /// The program and its arguments.
    pub arguments: &'a [String],
    /// Where standard output and standard error go; belongs to the user.
    pub log: &'a Path,
    /// How much memory it may lock.
    pub locked_memory_bytes: u64,
    /// The device nodes it may open.
    pub devices: &'a [String],
    /// How long the start may take.
    pub timeout: Duration,
}

/// What was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// Its process.
    pub pid: u32,
    /// Its systemd unit, where it has one.
    pub unit: Option<String>,
}
