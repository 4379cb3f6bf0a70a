//! `List` and `Show`: machines as they are.

use std::sync::Arc;

use vfioctl_protocol::machine::Info;
use vfioctl_protocol::wire::WireError;

use super::session::Session;
use crate::MethodError;
use crate::machine::Machine;

pub(super) fn list_machines(session: &Session, all: bool) -> Vec<Info> {
    session.helper.wait_until_ready();
    let uid = (!all).then_some(session.peer.uid);
    let machines = session.helper.machines.list(uid);
    machines
        .iter()
        .map(|machine| machine.info(&session.helper))
        .collect()
}

pub(super) fn show_machine(session: &Session, name: &str) -> Result<Info, MethodError> {
    Ok(find_machine(session, name)?.info(&session.helper))
}

/// The caller's machine of a name; nobody else's.
pub(super) fn find_machine(session: &Session, name: &str) -> Result<Arc<Machine>, MethodError> {
    let name = name
        .parse()
        .map_err(|error: vfioctl_core::claim::InvalidMachineName| WireError {
            field: "name",
            because: error.to_string(),
        })?;
    session.helper.wait_until_ready();
    let machine = session.helper.machines.find(session.peer.uid, &name);
    machine.ok_or_else(|| MethodError::NoSuchMachine(name.to_string()))
}
