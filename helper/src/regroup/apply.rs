//! Runs a plan that changes ACS and groups anew.

use std::time::{Duration, Instant};

use vfioctl_core::iommu::Partition;
use vfioctl_core::pci::{Bar, BarKind, PciAddress, PciFunction};
use vfioctl_core::plan::{RegroupPlan, Step, plan_return};
use vfioctl_core::{Answer, Snapshot};
use vfioctl_scan::{is_present, read_acs, read_function};

use super::record::{ChangeRecord, Regroup};
use super::undo::{kernel_groups, undo};
use crate::apply::{Progress, look_at, run_step, undone_error};
use crate::helper::{Helper, now};
use crate::limits::RESCAN_TIME;
use crate::{MethodError, audit};

/// What came of a plan.
#[derive(Debug)]
pub(crate) struct Regrouped {
    /// The groups that the kernel made.
    pub(crate) groups: Partition,
    /// Functions whose expansion ROM found no room again. Linux gives a ROM what is left over, and
    /// a device works without; only some guests look for it.
    pub(crate) without_rom: Vec<PciAddress>,
}

/// Runs a plan; `snapshot` is what it was made of.
///
/// # Errors
/// `Failed`, with everything undone as far as the kernel lets go.
pub(crate) fn regroup(
    helper: &Helper,
    snapshot: &Snapshot,
    plan: &RegroupPlan,
    uid: u32,
    progress: Progress<'_>,
) -> Result<Regrouped, MethodError> {
    let entry = Regroup {
        uid,
        ports: plan
            .ports
            .iter()
            .map(|port| port.original.clone())
            .collect(),
        cycles: plan.cycles.clone(),
        originals: plan.originals.clone(),
        before: plan.before.clone(),
        windows: plan
            .originals
            .iter()
            .filter_map(|original| snapshot.function(original.address))
            .map(|function| (function.address, windows(function).count()))
            .collect(),
    };
    helper.acs.begin(&entry)?;
    let done = run(helper, plan, progress)
        .and_then(|()| verify(helper, snapshot, plan))
        .and_then(|done| write_changes(helper, plan, uid).map(|()| done));
    match done {
        Ok(done) => {
            if let Err(error) = helper.acs.end() {
                audit::error(&error.to_string());
            }
            Ok(done)
        }
        Err(because) => {
            let home = undo(helper, &entry);
            Err(undone_error(because, &home))
        }
    }
}

fn run(helper: &Helper, plan: &RegroupPlan, progress: Progress<'_>) -> Result<(), String> {
    // Drivers come back by looking at what the kernel has bound by itself.
    let is_return = |step: &Step| matches!(step, Step::SetOverride { .. } | Step::Bind { .. });
    let (last, first): (Vec<&Step>, Vec<&Step>) = plan.steps.iter().partition(|s| is_return(s));
    let mut has_returned = plan.cycles.is_empty();
    for step in first {
        // What may sleep again does so when everything else is done.
        if matches!(step, Step::SetPower { .. }) && !has_returned && is_after_rescan(plan, step) {
            bring_back(helper, plan)?;
            last.iter().for_each(|step| progress(step));
            has_returned = true;
        }
        run_step(helper, step).map_err(|because| format!("could not {step}: {because}"))?;
        if let Step::Rescan { bridge } = step {
            wait_for(helper, plan, *bridge)?;
        }
        progress(step);
    }
    if !has_returned {
        bring_back(helper, plan)?;
        last.iter().for_each(|step| progress(step));
    }
    Ok(())
}

fn is_after_rescan(plan: &RegroupPlan, step: &Step) -> bool {
    let rescan = plan
        .steps
        .iter()
        .position(|step| matches!(step, Step::Rescan { .. }));
    let own = plan.steps.iter().position(|other| other == step);
    rescan < own
}

/// Every function must be back before anything else is done. The kernel has found them when the
/// write returns; a link that trains slowly is given a moment.
fn wait_for(helper: &Helper, plan: &RegroupPlan, bridge: PciAddress) -> Result<(), String> {
    let deadline = Instant::now() + RESCAN_TIME;
    loop {
        let missing = plan
            .cycles
            .iter()
            .filter(|cycle| cycle.bridge == bridge)
            .flat_map(|cycle| &cycle.functions)
            .find(|function| !is_present(&helper.root, **function));
        let Some(missing) = missing else {
            return Ok(());
        };
        if Instant::now() > deadline {
            return Err(format!("{missing} was not found again below {bridge}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn bring_back(helper: &Helper, plan: &RegroupPlan) -> Result<(), String> {
    for original in &plan.originals {
        let one = std::slice::from_ref(original);
        let seen = look_at(helper, one).map_err(|error| format!("{error:?}"))?;
        let back = plan_return(&seen, one);
        if let Some(leftover) = back.leftovers.first() {
            return Err(leftover.to_string());
        }
        for step in back.steps {
            run_step(helper, &step).map_err(|because| format!("could not {step}: {because}"))?;
        }
    }
    Ok(())
}

/// Registers hold what they were given, every function is what it was, and the kernel grouped as
/// predicted.
fn verify(helper: &Helper, snapshot: &Snapshot, plan: &RegroupPlan) -> Result<Regrouped, String> {
    let mut without_rom = Vec::new();
    for port in &plan.ports {
        let address = port.original.address;
        let now = read_acs(&helper.root, address).ok().and_then(Answer::known);
        let control = now.flatten().map(|registers| registers.acs.control());
        if control != Some(port.control) {
            return Err(format!(
                "the ACS bits of {address} did not stay as they were set"
            ));
        }
    }
    for original in &plan.originals {
        let address = original.address;
        let now = read_function(&helper.root, address).ok().flatten();
        let (Some(now), Some(before)) = (now, snapshot.function(address)) else {
            return Err(format!("{address} is not there any more"));
        };
        // A window that found no room leaves a device that looks alive and does nothing.
        if !windows(&now).eq(windows(before)) {
            return Err(format!(
                "the kernel did not give {address} all its windows again"
            ));
        }
        if now.bars.len() < before.bars.len() {
            without_rom.push(address);
        }
    }
    let groups = kernel_groups(helper, &plan.after);
    if groups != plan.after {
        return Err("the kernel grouped otherwise than was predicted".to_owned());
    }
    Ok(Regrouped {
        groups,
        without_rom,
    })
}

/// The windows that a function cannot do without: all but that of its expansion ROM.
pub(super) fn windows(function: &PciFunction) -> impl Iterator<Item = &Bar> {
    function.bars.iter().filter(|bar| bar.kind != BarKind::Rom)
}

fn write_changes(helper: &Helper, plan: &RegroupPlan, uid: u32) -> Result<(), String> {
    for port in &plan.ports {
        let change = ChangeRecord {
            original: port.original.clone(),
            control: port.control,
            cycles: plan.cycles.clone(),
            uid,
            since: now(),
        };
        helper
            .acs
            .put_change(change)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
