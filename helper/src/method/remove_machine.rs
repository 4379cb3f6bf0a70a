//! `Remove`: forgets a stopped machine.

use super::list_machines::find_machine;
use super::session::Session;
use crate::machine;
use crate::{MethodError, audit};

pub(super) fn remove_machine(session: &Session, name: &str) -> Result<(), MethodError> {
    let machine = find_machine(session, name)?;
    let removed = machine::remove(&session.helper, &machine);
    let outcome = removed
        .as_ref()
        .map_or_else(MethodError::outcome, |()| "done");
    audit::record(&session.peer, "vm rm", machine.name(), outcome);
    removed
}
