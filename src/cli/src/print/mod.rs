//! Answers for people: each record as text. Goldens stand at the foot of each file.

mod acs;
mod cdi;
mod gpu;
mod groups;
mod image;
mod list;
mod machine;
mod moment;
mod node;
mod people;
mod prediction;
mod setup;
mod show;
mod steps;
mod task;
mod tree;

pub(crate) use moment::{moment, utc};
pub(crate) use task::shell_line;
