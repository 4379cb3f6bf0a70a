//! `Start`: starts a stopped machine again.

use vfioctl_protocol::machine::Info;

use super::list_machines::find_machine;
use super::session::Session;
use crate::policy::authorise_machine;
use crate::{MethodError, audit, machine};

pub(super) fn start_machine(
    session: &Session,
    name: &str,
    progress: &mut dyn FnMut(&str),
) -> Result<Info, MethodError> {
    let helper = &session.helper;
    let machine = find_machine(session, name)?;
    let may_start = authorise_machine(&session.peer)?;
    let started = machine::start_again(helper, &session.peer, &may_start, &machine, progress);
    let outcome = started
        .as_ref()
        .map_or_else(MethodError::outcome, |()| "done");
    audit::record(&session.peer, "vm start", machine.name(), outcome);
    started.map(|()| machine.info(helper))
}
