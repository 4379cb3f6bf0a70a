//! The privileged helper: the only part of vfioctl that changes a machine.
//!
//! It answers varlink calls on a Unix socket ([`server`]). Each call is parsed, validated, held
//! against the caller's identity, looked at and planned anew, and only then applied (`method`,
//! [`apply`]). What it did is on disk before it is done ([`state`]). All writes and all unsafe
//! code stand in `sys`. Machines are started and watched in [`machine`].
#![deny(unsafe_code)]

pub mod apply;
mod at_boot;
mod audit;
mod configuration;
mod error;
mod helper;
pub mod kernel;
mod limits;
pub mod machine;
mod method;
mod notice;
mod options;
mod peer;
pub mod pin;
mod policy;
mod recover;
mod refuse;
mod regroup;
mod reserve;
pub mod server;
mod start;
pub mod state;
mod sys;

pub use error::MethodError;
pub use helper::{Helper, Parts};
pub use regroup::AcsState;
pub use start::run;
pub use sys::LiveKernel;
