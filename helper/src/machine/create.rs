//! Making a machine: devices, folder, QEMU, monitor.

use std::sync::Arc;

use vfioctl_core::claim::Claim;
use vfioctl_core::machine::MachineSpec;
use vfioctl_qemu::locked_memory_limit;

use super::LaunchRequest;
use super::launch::{not_started, run};
use super::lifetime::{save, take_home};
use super::monitor::Monitor;
use super::plan::{MachinePlan, Taking, plan};
use super::registry::{Machine, Phase};
use crate::apply::take;
use crate::helper::{Helper, now};
use crate::peer::Peer;
use crate::policy::MayStart;
use crate::refuse::{refuse_in_use, refuse_late_claim};
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
    helper.machines.add(&machine)?;
    let started = start(helper, peer, &machine, &planned, progress);
    match started {
        Ok(()) => Ok(machine),
        Err(error) => {
            forget(helper, &machine);
            Err(error)
        }
    }
}

/// Forgets a stopped machine.
pub(crate) fn remove(helper: &Helper, machine: &Machine) -> Result<(), MethodError> {
    let owner = machine.owner();
    if machine.phase() != Phase::Stopped {
        return Err(MethodError::refused(
            "Running",
            format!("machine '{}' runs", machine.name()),
            format!("stop it first: 'vfioctl vm stop {}'", machine.name()),
        ));
    }
    if helper
        .state
        .claims()
        .iter()
        .any(|claim| claim.owner == owner)
    {
        return Err(MethodError::refused(
            "NotHome",
            format!("devices of machine '{}' are not home yet", machine.name()),
            "run 'vfioctl recover'",
        ));
    }
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

fn start(
    helper: &Arc<Helper>,
    peer: &Peer,
    machine: &Arc<Machine>,
    planned: &MachinePlan,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    // Before there is a process: a helper that is killed right after the start finds it by this.
    let unit = helper.launcher.unit_name(peer.uid, machine.name().as_str());
    machine.change(|life| life.unit = unit);
    save(helper, machine);
    for taking in &planned.takes {
        take_device(helper, peer, machine, taking, progress)?;
    }
    let folder = helper.runtime.make_machine(peer.uid, machine.name().as_str()).map_err(|error| {
        MethodError::failed(
            format!("cannot make the machine's folder: {error}"),
            "remove what is left of an earlier machine of that name below /run/vfioctl/machines",
            true,
        )
    })?;
    progress("starting QEMU");
    let log = folder.join("log");
    let request = LaunchRequest {
        peer,
        name: machine.name().as_str(),
        arguments: &planned.arguments,
        log: &log,
        locked_memory_bytes: locked_memory_limit(&machine.spec),
        devices: &planned.nodes,
        timeout: planned.start_timeout,
    };
    let launched = helper
        .launcher
        .start(&request)
        .map_err(|because| not_started(because, &log))?;
    run(helper, machine, planned, &launched, &log, progress)
}

fn take_device(
    helper: &Helper,
    peer: &Peer,
    machine: &Machine,
    taking: &Taking,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    let owner = machine.owner();
    let _reservation = helper.reserve(&taking.groups, &owner)?;
    let claim = Claim {
        owner,
        originals: taking.originals.clone(),
        since: now(),
    };
    match &taking.held {
        Some(_) => helper.state.put_claim(&claim)?,
        None => {
            refuse_late_claim(helper, &claim.originals)?;
            refuse_in_use(helper, &claim.originals)?;
            take(helper, &claim, &taking.steps, &mut |step| {
                progress(&step.to_string())
            })?;
        }
    }
    for group in &taking.groups {
        helper
            .kernel
            .grant_group(*group, peer.uid)
            .map_err(|error| {
                MethodError::failed(
                    format!("cannot give you the VFIO node of group {group}: {error}"),
                    "look at the kernel's log ('dmesg'); everything is taken home",
                    true,
                )
            })?;
    }
    Ok(())
}
