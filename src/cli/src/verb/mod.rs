//! The verbs, one file each.

pub(crate) mod acs;
pub(crate) mod bind;
pub(crate) mod check;
pub(crate) mod dump;
pub(crate) mod groups;
pub(crate) mod hotplug;
pub(crate) mod image;
pub(crate) mod list;
mod picture;
mod predict;
pub(crate) mod recover;
pub(crate) mod release;
pub(crate) mod report;
pub(crate) mod setup;
pub(crate) mod show;
pub(crate) mod vm;

mod fitness;

use crate::Done;
use crate::command_line::Verb;
use crate::session::Session;

/// Does what was asked.
///
/// # Errors
/// Why it could not be done.
pub(crate) fn run(verb: Verb, session: &mut Session<'_>) -> Done {
    match verb {
        Verb::Check(arguments) => fitness::run(&arguments, session),
        Verb::List { all } => list::run(all, session),
        Verb::Show { device } => show::run(device.address, session),
        Verb::Groups(arguments) => groups::run(&arguments, session),
        Verb::Report { file } => report::run(file.as_deref(), session),
        Verb::Bind {
            device,
            persist,
            plan,
        } => bind::run(device.address, persist, plan, session),
        Verb::Release { device, plan } => release::run(device.address, plan, session),
        Verb::Recover { plan } => recover::run(plan, session),
        Verb::Hotplug => hotplug::run(session),
        Verb::Acs(verb) => acs::run(verb, session),
        Verb::Setup(arguments) => setup::run(&arguments, session),
        Verb::Vm(verb) => vm::run(verb, session),
        Verb::Image(verb) => image::run(verb, session),
    }
}
