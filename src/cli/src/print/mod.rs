//! Answers for people: each record as text. Goldens stand at the foot of each file.

mod acs;
mod groups;
mod image;
mod list;
mod machine;
mod moment;
mod prediction;
mod setup;
mod show;
mod steps;
mod tree;

pub(crate) use moment::utc;
