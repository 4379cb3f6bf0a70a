//! Making a machine, and forgetting it.

use std::sync::Arc;

use vfioctl_core::machine::MachineSpec;

use super::lifetime::take_home;
use super::monitor::Monitor;
use super::plan::plan;
use super::registry::{Machine, Phase};
use super::start::{refuse_not_home, start};
use crate::helper::{Helper, now};
use crate::peer::Peer;
use crate::policy::MayStart;
use crate::{MethodError, audit};

/// Makes a machine and starts it; when that fails, everything is undone and no machine is left.
pub(crate) fn create(
    helper: &Arc<Helper>,
    peer: &Peer,
    _may_start: &MayStart,
    spec: MachineSpec,
    progress: &mut dyn FnMut(&str),
) -> Result<Arc<Machine>, MethodError> {
    // Told before anything else: the devices of the machine that exists would be refused as its.
    if helper.machines.find(peer.uid, &spec.name).is_some() {
        return Err(MethodError::MachineExists(spec.name.to_string()));
    }
    let planned = plan(helper, peer, &spec)?;
    let folder = helper.runtime.machine(peer.uid, spec.name.as_str());
    let monitor = Monitor::at(folder.join("io/qmp.sock"), peer.uid);
    let machine = Arc::new(Machine::new(peer.uid, spec, monitor, now()));
    {
        // Until it has started or is forgotten, it is nobody else's to start or to forget.
        let _turn = machine.take_turn()?;
        helper.machines.add(&machine)?;
        if let Err(error) = start(helper, peer, &machine, &planned, progress) {
            forget(helper, &machine);
            return Err(error);
        }
    }
    Ok(machine)
}

/// Forgets a stopped machine.
pub(crate) fn remove(helper: &Helper, machine: &Arc<Machine>) -> Result<(), MethodError> {
    let _turn = helper.machines.take_turn(machine)?;
    if machine.phase() != Phase::Stopped {
        return Err(MethodError::refused(
            "Running",
            format!("machine '{}' runs", machine.name()),
            format!("stop it first: 'vfioctl vm stop {}'", machine.name()),
        ));
    }
    refuse_not_home(helper, machine)?;
    forget(helper, machine);
    Ok(())
}

/// Nothing of a machine is left: devices home, no record, no folder.
fn forget(helper: &Helper, machine: &Machine) {
    if machine.phase() != Phase::Stopped {
        take_home(helper, machine);
        machine.change(|life| life.phase = Phase::Stopped);
    }
    let name = super::record::file_name(machine.uid, machine.name());
    if let Err(error) = helper.state.remove_machine(&name) {
        audit::error(&error.to_string());
    }
    if let Err(error) = helper
        .runtime
        .remove_machine(machine.uid, machine.name().as_str())
    {
        audit::warning(&format!(
            "cannot remove a machine's folder: {error}, ignoring"
        ));
    }
    helper.machines.remove(machine);
}
