//! From QEMU's start to the return of its devices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vfioctl_core::claim::Claim;
use vfioctl_protocol::{POWERED_OFF, wire};
use vfioctl_scan::read_process_stat;

use super::monitor::Monitor;
use super::record::{MachineRecord, ProcessRecord, file_name};
use super::registry::{Machine, Phase};
use crate::apply::{give_back, groups_of};
use crate::audit;
use crate::helper::Helper;
use crate::limits::{CONSOLE_INTERVAL, HOME_TIME, MAX_CONSOLE_BYTES};
use crate::pin::keep_after_machine;
use crate::sys::{Process, trim_console};

/// Writes a machine's record; a failure is logged, since the machine itself goes on.
pub(super) fn save(helper: &Helper, machine: &Machine) {
    let record = machine.record(helper.state.boot_id());
    let name = file_name(machine.uid, machine.name());
    if let Err(error) = helper.state.put_machine(&name, &record) {
        audit::error(&error.to_string());
    }
}

/// Tells a process from a later one of the same number.
pub(super) fn identify(helper: &Helper, pid: u32) -> Option<ProcessRecord> {
    let stat = read_process_stat(&helper.root, pid).ok().flatten()?;
    (!stat.is_zombie).then_some(ProcessRecord {
        pid,
        start_time: stat.start_time,
    })
}

/// Watches a machine's process from a thread of its own until it ends.
pub(super) fn watch(helper: &Arc<Helper>, machine: &Arc<Machine>, process: Process) {
    let (helper, machine) = (Arc::clone(helper), Arc::clone(machine));
    let name = format!("watch {}", machine.name());
    let watcher = std::thread::Builder::new().name(name).spawn(move || {
        let folder = helper.runtime.machine(machine.uid, machine.name().as_str());
        process.wait(CONSOLE_INTERVAL, || {
            // No log yet, or none any more: nothing to cut.
            let _ = trim_console(&folder, MAX_CONSOLE_BYTES);
        });
        finish(&helper, &machine);
    });
    if let Err(error) = watcher {
        audit::error(&format!(
            "cannot watch a machine: {error}; run 'vfioctl recover' after its end"
        ));
    }
}

/// After QEMU's end: says how it ended, and takes its devices home.
pub(super) fn finish(helper: &Helper, machine: &Machine) {
    let reason = machine.monitor.shutdown_reason();
    let was_told = machine.phase() == Phase::Stopping;
    let ended = describe_end(reason.as_deref(), was_told);
    machine.change(|life| {
        life.phase = Phase::Stopping;
        life.ended = Some(ended.clone());
    });
    let home = take_home(helper, machine);
    audit::info(&format!(
        "machine {} of uid {}: {ended}",
        machine.name(),
        machine.uid
    ));
    machine.change(|life| life.devices_home = home);
    // Before it is stopped: then another may start it again, and write its record.
    save(helper, machine);
    machine.change(|life| life.phase = Phase::Stopped);
}

fn describe_end(reason: Option<&str>, was_told: bool) -> String {
    match reason {
        Some("guest-shutdown") => POWERED_OFF.into(),
        Some("guest-reset") => "the guest reset and QEMU ended".into(),
        Some("guest-panic") => "the guest panicked".into(),
        Some("host-qmp-quit") => "it was told to quit".into(),
        Some("host-signal") => "QEMU was ended by a signal".into(),
        Some(other) => format!("QEMU ended: {other}"),
        None if was_told => "QEMU was killed".into(),
        None => "QEMU ended without a word: it was killed, or it crashed".into(),
    }
}

/// Gives back everything the machine has claimed; tells each device's fate.
pub(super) fn take_home(helper: &Helper, machine: &Machine) -> Vec<String> {
    let owner = machine.owner();
    let claims: Vec<Claim> = helper
        .state
        .claims()
        .into_iter()
        .filter(|claim| claim.owner == owner)
        .collect();
    claims
        .iter()
        .flat_map(|claim| take_claim_home(helper, claim))
        .collect()
}

fn take_claim_home(helper: &Helper, claim: &Claim) -> Vec<String> {
    let deadline = Instant::now() + HOME_TIME;
    let groups = groups_of(helper, claim);
    let _reservation = loop {
        match helper.reserve(&groups, &claim.owner) {
            Ok(reservation) => break reservation,
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return vec![format!("not home: {error:?}; run 'vfioctl recover'")],
        }
    };
    if let Some(told) = keep_after_machine(helper, claim) {
        return told;
    }
    match give_back(helper, claim, &mut |_| {}) {
        Ok(home) => {
            let mut told: Vec<String> = home.leftovers.clone();
            if !home.is_pending {
                told.extend(
                    claim
                        .originals
                        .iter()
                        .map(|original| match &original.driver {
                            Some(driver) => format!("{} is back with {driver}", original.address),
                            None => {
                                format!("{} is back without a driver, as before", original.address)
                            }
                        }),
                );
            }
            told
        }
        Err(error) => vec![format!("not home: {error:?}; run 'vfioctl recover'")],
    }
}

/// Takes up the machines of an earlier helper: those that run are watched, those that have ended
/// meanwhile are finished by the recovery that follows.
pub(crate) fn adopt_all(helper: &Arc<Helper>) {
    let records = match helper.state.machines::<MachineRecord>() {
        Ok(records) => records,
        Err(error) => return audit::error(&error.to_string()),
    };
    for (name, record) in records {
        match wire::spec_from_wire(&record.spec) {
            Ok(spec) => adopt(helper, record, spec),
            Err(error) => {
                audit::warning(&format!(
                    "machine record '{name}' is not understood ({error}), ignoring"
                ));
            }
        }
    }
}

fn adopt(helper: &Arc<Helper>, record: MachineRecord, spec: vfioctl_core::machine::MachineSpec) {
    let folder = helper.runtime.machine(record.uid, spec.name.as_str());
    let monitor = Monitor::at(folder.join("io/qmp.sock"), record.uid);
    let machine = Arc::new(Machine::new(record.uid, spec, monitor, record.since));
    if helper.machines.add(&machine).is_err() {
        return;
    }
    machine.change(|life| {
        life.unit.clone_from(&record.unit);
        life.ended.clone_from(&record.ended);
        life.devices_home.clone_from(&record.devices_home);
    });
    let is_this_boot = record.boot_id == helper.state.boot_id();
    let process = if record.ended.is_none() && is_this_boot {
        find_process(helper, &machine, &record)
    } else {
        None
    };
    if let Some((process, identity)) = process {
        machine.change(|life| {
            life.phase = Phase::Running;
            life.process = Some(identity);
        });
        save(helper, &machine);
        audit::info(&format!(
            "machine {} of uid {} still runs",
            machine.name(),
            machine.uid
        ));
        watch(helper, &machine, process);
        return;
    }
    if record.ended.is_none() {
        let ended = if is_this_boot {
            "QEMU ended while the helper was away"
        } else {
            "this computer was restarted"
        };
        machine.change(|life| life.ended = Some(ended.to_owned()));
        let home = take_home(helper, &machine);
        machine.change(|life| life.devices_home = home);
    }
    machine.change(|life| life.phase = Phase::Stopped);
    save(helper, &machine);
}

/// The machine's process, by its record; or, where the helper was killed before it could write
/// the number down, by its unit or by who listens on its monitor.
fn find_process(
    helper: &Helper,
    machine: &Machine,
    record: &MachineRecord,
) -> Option<(Process, ProcessRecord)> {
    let pid = match record.process {
        Some(process) => process.pid,
        None => record
            .unit
            .as_deref()
            .and_then(|unit| helper.launcher.find(unit))
            .or_else(|| machine.monitor.listener_pid())?,
    };
    // First hold it, then look: what is held cannot be recycled while it is looked at.
    let process = Process::open(pid)?;
    let identity = identify(helper, pid)?;
    let is_same = record.process.is_none_or(|recorded| recorded == identity);
    is_same.then_some((process, identity))
}
