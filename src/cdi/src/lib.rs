//! The Container Device Interface (CDI): what a container gets with a device.
//!
//! A [`Spec`] says for each device of a [`Kind`] which nodes, mounts and variables a container needs
//! that uses it. Makers of devices write such files, engines read them; the standard is
//! <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>, versions 0.3 to 1.x.
//!
//! [`generate`] makes one for GPUs that no maker's program describes. [`Spec::parse`] reads those of
//! others, and takes them for hostile: they are files of root's, but programs of anybody wrote them.
//! [`resolve`] finds the [`Edits`] of a device.
//!
//! This crate opens no file and starts nothing. Hooks are read and never run: what they do to a
//! container is the engine's business, and a device that has hooks is not whole without them.
#![forbid(unsafe_code)]

mod edits;
mod generate;
mod limits;
mod name;
mod spec;

pub use edits::{DeviceNode, Edits, Hook, Mount};
pub use generate::{GpuFacts, KIND, NodeFacts, generate};
pub use name::{DeviceName, InvalidDeviceName, Kind};
pub use spec::{Device, ResolveError, Spec, SpecError, device_with_node, resolve};
