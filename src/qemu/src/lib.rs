//! QEMU, seen from outside: what it is told when it starts, and how one talks to it after.
//!
//! This crate is the only place that knows QEMU's option names and its monitor protocol. It
//! starts no process, opens no file and connects to nothing; its callers do.
//!
//! A machine goes through it in this order:
//!
//! 1. [`parse_spec`] reads the file a person wrote into a [`vfioctl_core::machine::MachineSpec`].
//!    Its errors name the line, the key and what may stand there.
//! 2. [`arguments`](fn@arguments) turns the specification, the [`Host`] and the resolved
//!    [`PassedDevice`]s into QEMU's whole command line. No text of the caller's can become an
//!    option: paths are JSON values or arguments of their own, and the rest is numbers and checked
//!    names.
//! 3. [`start_timeout`] and [`locked_memory_limit`] say how long the start may take and how much
//!    memory it may pin, with the reports the numbers come from.
//! 4. [`qmp::Client`] speaks to the running machine over a socket that the caller has connected.
//!    QEMU is taken for hostile here: it may have been taken over by its guest, so every call has
//!    a deadline, every line and every queue a limit, and no answer makes the client panic.
//!
//! Everything is written for QEMU 7.2 and later.
#![forbid(unsafe_code)]

mod arguments;
mod block_node;
mod limits;
mod memory_size;
mod mmio_window;
mod network_stream;
mod placement;
pub mod qmp;
mod spec_file;
mod start_time;

pub use arguments::{Accel, Host, arguments};
pub use memory_size::{InvalidMemorySize, parse_memory};
pub use placement::{MAX_ROOT_PORTS, PassedDevice};
pub use spec_file::{SpecFileError, SpecFileErrorKind, parse_spec};
pub use start_time::{locked_memory_limit, start_timeout};
