//! Changing ACS and grouping devices anew.
//!
//! What was before is written down first; then the steps, each read back; then the kernel's groups
//! are compared with the prediction. What fails is undone as a whole, and a helper that is killed
//! leaves enough for the next one to do it.

mod apply;
mod look;
mod record;
mod undo;

pub(crate) use apply::regroup;
pub(crate) use look::{Looked, look};
pub use record::AcsState;
pub(crate) use record::{ChangeRecord, Regroup};
pub(crate) use undo::{plan_undo, undo};
