//! Starting a machine: devices, folder, QEMU, monitor; for the first time, or again.

use std::sync::Arc;

use vfioctl_core::claim::Claim;
use vfioctl_qemu::locked_memory_limit;

use super::LaunchRequest;
use super::launch::{not_started, run};
use super::lifetime::{save, take_home};
use super::plan::{MachinePlan, Taking, plan};
use super::registry::{Machine, Phase};
use crate::MethodError;
use crate::apply::take;
use crate::helper::{Helper, now};
use crate::peer::Peer;
use crate::policy::MayStart;
use crate::refuse::{refuse_in_use, refuse_late_claim};

/// Starts a stopped machine again, as it was asked for. When that fails, it is stopped as before and
/// its devices are home.
///
/// QEMU and the devices begin anew: a reset of the guest alone resets no card.
pub(crate) fn start_again(
    helper: &Arc<Helper>,
    peer: &Peer,
    _may_start: &MayStart,
    machine: &Arc<Machine>,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    let _turn = helper.machines.take_turn(machine)?;
    if machine.phase() != Phase::Stopped {
        return Err(MethodError::refused(
            "Running",
            format!("machine '{}' runs", machine.name()),
            format!(
                "leave it, or end it and start it again: 'vfioctl vm restart {}'",
                machine.name()
            ),
        ));
    }
    refuse_not_home(helper, machine)?;
    let planned = plan(helper, peer, &machine.spec)?;
    machine.begin(now());
    let started = start(helper, peer, machine, &planned, progress);
    if let Err(error) = &started {
        stay_stopped(helper, machine, error);
    }
    started
}

/// What is left of an attempt goes home, and the record says what came of it.
fn stay_stopped(helper: &Helper, machine: &Machine, error: &MethodError) {
    let home = take_home(helper, machine);
    machine.change(|life| {
        life.ended = Some(format!("it did not start again: {}", error.message()));
        life.devices_home.extend(home);
    });
    save(helper, machine);
    machine.change(|life| life.phase = Phase::Stopped);
}

/// What an earlier end could not bring home is not taken again.
pub(super) fn refuse_not_home(helper: &Helper, machine: &Machine) -> Result<(), MethodError> {
    let owner = machine.owner();
    let claims = helper.state.claims();
    if !claims.iter().any(|claim| claim.owner == owner) {
        return Ok(());
    }
    Err(MethodError::refused(
        "NotHome",
        format!("devices of machine '{}' are not home yet", machine.name()),
        "run 'vfioctl recover'",
    ))
}

/// Takes the devices of a machine and starts its QEMU. When that fails, whoever called takes them
/// home.
pub(super) fn start(
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
    progress(&match machine.spec.devices.is_empty() {
        true => "starting QEMU".to_owned(),
        false => format!(
            "starting QEMU, which pins {} MiB of memory for its devices",
            machine.spec.memory_mib
        ),
    });
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
