//! Plans: what would be done, as a list of small steps, or why nothing may be.

mod bind;
mod container;
mod naming;
mod refusal;
mod refusal_words;
mod regroup;
mod regroup_steps;
#[cfg(test)]
mod regroup_tests;
mod restore;
mod step;
#[cfg(test)]
mod tests;

pub use bind::{BindPlan, find_groups, plan_bind, plan_bind_by, refuse_claimed};
pub use container::plan_container;
pub use refusal::Refusal;
pub use regroup::{Cycle, OverridePlan, PortChange, PortOriginal, RegroupPlan, Regrouping};
pub use regroup_steps::plan_removals;
pub use restore::{Leftover, RestorePlan, plan_restore, plan_return};
pub use step::{PowerControl, Step};
