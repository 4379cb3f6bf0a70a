//! The GPUs of this machine, as its runner knows them.
//!
//! One look goes this way: what is `seen` of the machine, through the helper; the `place` of each GPU; its
//! number (`numbers`, kept in a `numbers_file`); what its own driver has `told`; and from all of that
//! the `details`, with the `capability` of each GPU. That is the `looker`'s work. How GPUs fare is read apart, more often: by their
//! `sensors`, and of NVIDIA's by [`nvml`]. What reads a driver may hang, and is done
//! `one_at_a_time`.

mod capability;
mod details;
mod live;
mod looker;
mod numbers;
mod numbers_file;
pub(crate) mod nvml;
mod one_at_a_time;
mod place;
#[cfg(test)]
mod sample;
mod seen;
mod sensors;
mod show;
mod told;

pub use live::{LiveGpus, Parts};
pub use show::answer_json;
pub(crate) use show::show;
