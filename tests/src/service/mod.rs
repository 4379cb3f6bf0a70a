//! Services on the machine that runs the tests: etcd, Docker and Podman.
//!
//! They are the test's own: private folders and ports, ended with the test, and nothing is left of
//! them, however it ends. Nothing is installed either: the programs are those that the lab has, out
//! of its [`Image`](crate::lab::Image).

mod cell;
mod engine;
mod etcd;

use crate::lab::Lab;
use crate::world::is_root;

pub use self::engine::{Engine, Extras, Kind};
pub use self::etcd::Etcd;

/// Says why services cannot run here, where that is so; a suite then skips what needs them.
#[must_use]
pub fn obstacle() -> Option<String> {
    match Lab::image() {
        _ if !is_root() => Some("only root can start a container engine".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("the programs are part of the lab: {error}")),
    }
}
