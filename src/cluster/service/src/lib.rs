//! What the programs of a cluster do alike as services of their machine: they read its configuration, write
//! to its journal, run as the user whose files they work with, and end when they are told.

pub mod configuration;
pub mod log;
mod owner;
mod signals;

pub use owner::{BecomeError, become_owner};
pub use signals::until_told;
