//! `vfioctl acs`: how devices are kept apart.

mod audit;
mod change;

use crate::Done;
use crate::command_line::AcsVerb;
use crate::session::Session;

/// Answers `vfioctl acs`.
pub(super) fn run(verb: AcsVerb, session: &mut Session<'_>) -> Done {
    match verb {
        AcsVerb::Audit { devices } => audit::run(&devices, session),
        AcsVerb::Set {
            device,
            bits,
            regroup,
            plan,
        } => change::set(device.address, bits, regroup, plan, session),
        AcsVerb::Override { devices, plan } => change::isolate(&devices, plan, session),
        AcsVerb::Restore { ports, plan } => change::restore(&ports, plan, session),
    }
}
