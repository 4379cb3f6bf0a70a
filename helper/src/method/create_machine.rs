//! `Create`: makes a machine and starts it.

use vfioctl_protocol::machine::{Info, Spec};
use vfioctl_protocol::wire::spec_from_wire;

use super::session::Session;
use crate::policy::authorise_machine;
use crate::{MethodError, audit, machine};

pub(super) fn create_machine(
    session: &Session,
    spec: &Spec,
    progress: &mut dyn FnMut(&str),
) -> Result<Info, MethodError> {
    let helper = &session.helper;
    let spec = spec_from_wire(spec)?;
    let name = spec.name.clone();
    let may_start = authorise_machine(&session.peer)?;
    helper.wait_until_ready();
    let created = machine::create(helper, &session.peer, &may_start, spec, progress);
    let outcome = created
        .as_ref()
        .map_or_else(MethodError::outcome, |_| "done");
    audit::record(&session.peer, "vm create", &name, outcome);
    created.map(|machine| machine.info(helper))
}
