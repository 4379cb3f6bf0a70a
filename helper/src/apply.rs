//! Runs a plan: each step is done and read back; when one fails, everything is undone.

use std::time::{Duration, Instant};

use vfioctl_core::claim::{Claim, Original};
use vfioctl_core::pci::{DriverName, GroupId, PciAddress};
use vfioctl_core::plan::{Leftover, RestorePlan, Step, plan_restore};
use vfioctl_core::{Answer, Snapshot};
use vfioctl_scan::{
    is_present, read_acs, read_driver, read_driver_override, read_function, read_power_controls,
};

use crate::helper::Helper;
use crate::kernel::WriteError;
use crate::limits::{BIND_RETRIES, READ_BACK_TIME, STRAGGLER_TIME, WRITE_TIME};
use crate::state::{Change, JournalEntry};
use crate::{MethodError, audit};

/// Where steps are told as they are done.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(&Step);

/// A step that did not have its effect.
#[derive(Debug)]
struct StepError {
    step: Step,
    because: String,
}

/// Takes functions for a claim: journal, steps, read back, claim, end of journal.
///
/// # Errors
/// `Failed`, with everything undone as far as the kernel lets go.
pub(crate) fn take(
    helper: &Helper,
    claim: &Claim,
    steps: &[Step],
    progress: Progress<'_>,
) -> Result<(), MethodError> {
    let entry = JournalEntry {
        change: Change::Bind,
        claim: claim.clone(),
    };
    helper
        .state
        .begin(&entry, steps.iter().map(ToString::to_string))?;
    let taken = run(helper, steps, progress)
        .map_err(|error| error.because_of())
        .and_then(|()| verify_taken(helper, claim))
        .and_then(|()| {
            helper
                .state
                .put_claim(claim)
                .map_err(|error| error.to_string())
        });
    match taken {
        Ok(()) => {
            end_journal(helper, claim);
            Ok(())
        }
        Err(because) => {
            let home = bring_home(helper, claim);
            Err(undone_error(because, &home))
        }
    }
}

/// What came of bringing functions home.
#[derive(Debug, Default)]
pub(crate) struct Home {
    /// The steps that were done.
    pub(crate) steps: Vec<Step>,
    /// What no step could bring back, and steps that failed.
    pub(crate) leftovers: Vec<String>,
    /// Whether a function still is not what it was and a later try could help.
    pub(crate) is_pending: bool,
}

/// Gives back what a claim holds: journal, steps, read back, end of claim and journal.
pub(crate) fn give_back(
    helper: &Helper,
    claim: &Claim,
    progress: Progress<'_>,
) -> Result<Home, MethodError> {
    let plan = plan_home(helper, &claim.originals)?;
    let entry = JournalEntry {
        change: Change::Release,
        claim: claim.clone(),
    };
    helper
        .state
        .begin(&entry, plan.steps.iter().map(ToString::to_string))?;
    let home = restore(helper, &claim.originals, progress);
    settle(helper, claim, &home);
    Ok(home)
}

/// Undoes or completes what a journal entry says; used after a failure and by recovery.
pub(crate) fn bring_home(helper: &Helper, claim: &Claim) -> Home {
    let home = restore(helper, &claim.originals, &mut |_| {});
    settle(helper, claim, &home);
    home
}

/// Ends claim and journal, unless something is left that a later recovery can bring home.
fn settle(helper: &Helper, claim: &Claim, home: &Home) {
    // A device that was on VFIO before stays there, and its node must not stay the user's.
    if claim
        .originals
        .iter()
        .any(|o| o.driver.as_ref().is_some_and(DriverName::is_vfio))
    {
        for group in groups_of(helper, claim) {
            // No node: nobody is on VFIO in that group any more.
            let _ = helper.kernel.grant_group(group, 0);
        }
    }
    if home.is_pending {
        audit::warning("a device is not home yet; its journal entry is kept for 'recover'");
        return;
    }
    if let Err(error) = helper.state.remove_claim(claim) {
        audit::error(&error.to_string());
    }
    end_journal(helper, claim);
}

fn end_journal(helper: &Helper, claim: &Claim) {
    // A journal entry that stays makes recovery look again and find everything as it was.
    if let Err(error) = helper.state.end(claim) {
        audit::error(&error.to_string());
    }
}

/// A user who bound a device can open it: that is what binding is for. Where that fails, the
/// device is bound all the same, and the log says what is missing.
pub(crate) fn grant(helper: &Helper, groups: &[GroupId], uid: u32) {
    for group in groups {
        if let Err(error) = helper.kernel.grant_group(*group, uid) {
            audit::error(&format!(
                "cannot give uid {uid} the VFIO node of group {group}: {error}"
            ));
        }
    }
}

/// The steps that would bring functions home now.
pub(crate) fn plan_home(
    helper: &Helper,
    originals: &[Original],
) -> Result<RestorePlan, MethodError> {
    Ok(plan_restore(&look_at(helper, originals)?, originals))
}

/// The groups that the functions of a claim are in now.
pub(crate) fn groups_of(helper: &Helper, claim: &Claim) -> Vec<GroupId> {
    let mut groups: Vec<_> = claim
        .originals
        .iter()
        .filter_map(|original| read_function(&helper.root, original.address).ok().flatten())
        .filter_map(|function| function.iommu_group)
        .collect();
    groups.sort();
    groups.dedup();
    groups
}

/// The functions as they are now, and nothing else of the machine.
pub(crate) fn look_at(helper: &Helper, originals: &[Original]) -> Result<Snapshot, MethodError> {
    let mut snapshot = Snapshot::default();
    for original in originals {
        if let Some(function) = read_function(&helper.root, original.address)? {
            snapshot.functions.insert(original.address, function);
        }
    }
    Ok(snapshot)
}

/// Brings each function back by itself, so that one that hangs does not keep the others.
fn restore(helper: &Helper, originals: &[Original], progress: Progress<'_>) -> Home {
    let mut home = Home::default();
    for original in originals.iter().rev() {
        restore_one(helper, original, progress, &mut home);
    }
    home
}

fn restore_one(helper: &Helper, original: &Original, progress: Progress<'_>, home: &mut Home) {
    // What is seen while a write is under way is not what will be.
    wait_for_stragglers(helper, original.address);
    // What is read now is not what will be: the write that hangs takes effect when it is let go.
    if helper.kernel.is_stuck(original.address) {
        home.leftovers.push(format!(
            "an earlier write to {} still hangs in the kernel",
            original.address
        ));
        home.is_pending = true;
        return;
    }
    let plan = match plan_home(helper, std::slice::from_ref(original)) {
        Ok(plan) => plan,
        Err(error) => {
            home.leftovers
                .push(format!("cannot look at {}: {error:?}", original.address));
            home.is_pending = true;
            return;
        }
    };
    home.leftovers
        .extend(plan.leftovers.iter().map(Leftover::to_string));
    for step in plan.steps {
        match run_step(helper, &step) {
            Ok(()) => {
                progress(&step);
                home.steps.push(step);
            }
            Err(because) => {
                // A driver that will not have its device back (its module is gone, its probe
                // fails) is told and not waited for: the device is free and its override as before.
                let is_bind = matches!(step, Step::Bind { .. });
                home.is_pending |= !is_bind || helper.kernel.is_stuck(original.address);
                home.leftovers.push(format!("could not {step}: {because}"));
                if !is_bind {
                    return;
                }
            }
        }
    }
}

pub(crate) fn wait_for_stragglers(helper: &Helper, address: PciAddress) {
    let deadline = Instant::now() + STRAGGLER_TIME;
    while helper.kernel.is_stuck(address) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn run(helper: &Helper, steps: &[Step], progress: Progress<'_>) -> Result<(), StepError> {
    for step in steps {
        run_step(helper, step).map_err(|because| StepError {
            step: step.clone(),
            because,
        })?;
        progress(step);
    }
    Ok(())
}

impl StepError {
    fn because_of(self) -> String {
        format!("could not {}: {}", self.step, self.because)
    }
}

pub(crate) fn run_step(helper: &Helper, step: &Step) -> Result<(), String> {
    let (retries, pause) = BIND_RETRIES;
    let mut tries = 0;
    loop {
        let answer = helper.kernel.apply(step, WRITE_TIME);
        match answer {
            Ok(()) => return read_back(helper, step),
            // Another did the same at the same moment (udev binds on its own): what counts is
            // what is.
            Err(WriteError::Errno(libc::EBUSY | libc::ENODEV)) if has_effect(helper, step) => {
                return Ok(());
            }
            Err(error) if error.is_transient() && tries < retries => tries += 1,
            Err(error) => return Err(error.to_string()),
        }
        std::thread::sleep(pause);
    }
}

/// Waits until what was written can be read; the kernel has done it before the write returned,
/// so this is one look, unless something else works on the device.
fn read_back(helper: &Helper, step: &Step) -> Result<(), String> {
    let deadline = Instant::now() + READ_BACK_TIME;
    while !has_effect(helper, step) {
        if Instant::now() > deadline {
            return Err("the kernel took the write, but reading back shows no effect".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn has_effect(helper: &Helper, step: &Step) -> bool {
    let driver = |address: PciAddress| read_driver(&helper.root, address).ok().flatten();
    match step {
        Step::SetOverride { address, to, .. } => {
            read_driver_override(&helper.root, *address).is_ok_and(|now| now == *to)
        }
        Step::Unbind { address, .. } => {
            read_driver(&helper.root, *address).is_ok_and(|now| now.is_none())
        }
        Step::Bind {
            address,
            driver: wanted,
        } => driver(*address).as_ref() == Some(wanted),
        Step::SetAcs { address, to, .. } => {
            let now = read_acs(&helper.root, *address);
            matches!(now, Ok(Answer::Known(Some(now))) if now.acs.control() == *to)
        }
        Step::SetPower { address, to, .. } => read_power_controls(&helper.root, [*address])
            .is_ok_and(|now| now.get(address) == Some(to)),
        Step::Remove { address } => !is_present(&helper.root, *address),
        // What is found is looked for by whoever knows what was there.
        Step::Rescan { .. } => true,
    }
}

/// After the steps: every function is on a VFIO driver, and the groups have no other member now
/// that could spoil them.
fn verify_taken(helper: &Helper, claim: &Claim) -> Result<(), String> {
    for original in &claim.originals {
        let driver = read_driver(&helper.root, original.address)
            .map_err(|error| format!("cannot look at {}: {error}", original.address))?;
        if !driver.as_ref().is_some_and(DriverName::is_vfio) {
            let driver = driver.map_or_else(|| "no driver".to_owned(), |name| name.to_string());
            return Err(format!(
                "{} is on {driver} after all steps",
                original.address
            ));
        }
    }
    Ok(())
}

pub(crate) fn undone_error(because: String, home: &Home) -> MethodError {
    let mut message = because;
    for leftover in &home.leftovers {
        message.push_str("; while undoing: ");
        message.push_str(leftover);
    }
    let undone = home.leftovers.is_empty() && !home.is_pending;
    let hint = if undone {
        "look at the kernel's log ('dmesg') for the driver's reason; everything is as it was"
    } else {
        "end the programs that use the device, then run 'vfioctl recover'"
    };
    MethodError::failed(message, hint, undone)
}
