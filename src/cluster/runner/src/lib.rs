//! The agent of a node: it reports what the node is, and has it do what the cluster wants.
//!
//! [`agent`] keeps in touch with a host through a [`link`], drives each task through its stages and
//! writes them into a [`journal`]. What a stage really does is a matter of the [`world`]: containers by
//! an engine, [machines](machine) by the helper. What [`gpu`] tells is told to the cluster, and used by both.
//!
//! It runs as a user of its own, without privilege. What it may reach is the helper's socket and the
//! engine's.
#![forbid(unsafe_code)]

mod acs;
pub mod agent;
mod command_line;
pub mod configuration;
pub mod container;
mod digest;
pub mod gpu;
pub mod https;
mod joining;
pub mod journal;
mod limits;
pub mod link;
pub mod machine;
pub mod node;
mod start;
mod whole_file;
pub mod world;

pub use start::run;

/// The definition of the command line, for man pages.
pub fn command() -> clap::Command {
    <command_line::CommandLine as clap::CommandFactory>::command()
}
use vfioctl_service::log;
