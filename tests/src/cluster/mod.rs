//! A real cluster on the loopback: hosts are processes of their own, made as an administrator makes
//! them, and are asked over TLS by a client that can be as rude as it likes.

mod answer;
mod host;
mod lab_node;
mod person;
mod wire;

use std::process::ExitCode;

pub use answer::Answer;
pub use host::{ClusterHost, Member, StoreOf};
pub use lab_node::LabNode;
pub use person::{Came, Person};
pub use wire::{Identity, Wire, client_config};

/// Says which program this process shall be.
const PROGRAM: &str = "VFIOCTL_TESTS_PROGRAM";

/// Where this process was started to be a host or a runner, is that. To be called first by every suite
/// that has a cluster: the programs need not be built beside it then.
pub fn act_if_asked() -> Option<ExitCode> {
    let program = std::env::var_os(PROGRAM)?;
    // It goes with the test that started it, however that ends.
    let signal = rustix::process::Signal::KILL;
    rustix::process::set_parent_process_death_signal(Some(signal)).unwrap();
    match program.to_str() {
        Some("host") => Some(vfioctl_host::run()),
        Some("runner") => Some(vfioctl_runner::run()),
        _ => panic!("this process cannot be {}", program.display()),
    }
}

/// This program, to be a host or a runner.
pub fn own_program(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new("/proc/self/exe");
    command.env(PROGRAM, name);
    command
}
