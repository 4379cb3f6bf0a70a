//! QMP, QEMU's machine protocol: JSON objects, one a line, over a Unix socket.
//!
//! [`Codec`] turns bytes into messages and commands into bytes and does no input or output.
//! [`Client`] puts it on a socket and adds deadlines. Neither needs to know a command's schema:
//! what QEMU adds with each version (events, fields, states) passes through and breaks nothing.
//!
//! The protocol: <https://www.qemu.org/docs/master/interop/qmp-spec.html>.

mod client;
mod codec;
mod error;
mod event_queue;

pub use client::{Client, Status};
pub use codec::{Codec, Event, Message};
pub use error::{CommandError, QmpError, QmpErrorKind};
