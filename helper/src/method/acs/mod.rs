//! The interface `io.vfioctl.Acs`: one file a verb.

mod isolate;
mod list_changes;
mod restore;
mod set;

use vfioctl_core::Snapshot;
use vfioctl_core::check::Lockdown;
use vfioctl_core::claim::Owner;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::{RegroupPlan, Step};
use vfioctl_protocol::acs as io;
use vfioctl_protocol::wire;
use vfioctl_scan::host::read_lockdown;

pub(super) use isolate::{isolate, plan_isolate};
pub(super) use list_changes::list_changes;
pub(super) use restore::{plan_restore, restore};
pub(super) use set::{plan_set, set};

use super::bind::parse_address;
use super::session::Session;
use crate::MethodError;
use crate::helper::Helper;
use crate::limits::MAX_ACS_ADDRESSES;
use crate::refuse::{refuse_in_use, refuse_late_claim};
use crate::regroup::regroup;

/// The last reply of a verb that changes something.
pub(super) struct Done {
    pub(super) plan: io::Plan,
    pub(super) groups: Vec<Vec<String>>,
}

fn parse_addresses(texts: &[String]) -> Result<Vec<PciAddress>, MethodError> {
    if texts.len() > MAX_ACS_ADDRESSES {
        return Err(wire::WireError {
            field: "addresses",
            because: format!("there are more than {MAX_ACS_ADDRESSES}"),
        }
        .into());
    }
    texts.iter().map(|text| parse_address(text)).collect()
}

/// What is common to all verbs once there is a plan: who is in the way, then the steps.
fn run(
    session: &Session,
    snapshot: &Snapshot,
    plan: &RegroupPlan,
    mut described: io::Plan,
    progress: &mut dyn FnMut(io::Step),
) -> Result<Done, MethodError> {
    let helper = &session.helper;
    let owner = Owner::person(session.peer.uid);
    if plan.steps.is_empty() {
        let groups = wire::groups(&plan.before);
        return Ok(Done {
            plan: described,
            groups,
        });
    }
    refuse_locked_down(helper, plan)?;
    let _reservation = helper.reserve(&plan.group_ids, &owner)?;
    refuse_late_claim(helper, &plan.originals)?;
    refuse_in_use(helper, &plan.originals)?;
    let done = regroup(helper, snapshot, plan, owner.uid, &mut |step| {
        progress(wire::acs_step(step));
    })?;
    let others = done.without_rom.iter().map(|address| io::Other {
        address: address.to_string(),
        reason: "RomUnassigned".to_owned(),
        message: "its expansion ROM found no room again: a guest that looks for it takes it from \
                  a file, and a reboot brings it back"
            .to_owned(),
        hint: None,
    });
    described.others.extend(others);
    Ok(Done {
        plan: described,
        groups: wire::groups(&done.groups),
    })
}

/// Only one at a time: each is planned on the machine as the last one left it.
fn exclusively<T>(
    helper: &Helper,
    work: impl FnOnce() -> Result<T, MethodError>,
) -> Result<T, MethodError> {
    let Ok(_guard) = helper.regrouping.try_lock() else {
        return Err(MethodError::refused(
            "Busy",
            "another change of ACS is being made at this moment",
            "wait until it has ended and ask again",
        ));
    };
    if helper.acs.unfinished().is_some() {
        return Err(MethodError::refused(
            "Unfinished",
            "an earlier change of ACS was not finished",
            "run 'vfioctl recover' first",
        ));
    }
    work()
}

/// Under lockdown the kernel refuses writes to config space (`drivers/pci/pci-sysfs.c`,
/// `pci_write_config`), after drivers have been unbound already; so it is asked before.
fn refuse_locked_down(helper: &Helper, plan: &RegroupPlan) -> Result<(), MethodError> {
    let is_locked = matches!(
        read_lockdown(&helper.root),
        vfioctl_core::Answer::Known(Some(Lockdown::Integrity | Lockdown::Confidentiality))
    );
    let writes: Vec<String> = plan
        .steps
        .iter()
        .filter(|step| matches!(step, Step::SetAcs { .. }))
        .map(ToString::to_string)
        .collect();
    if !is_locked || writes.is_empty() {
        return Ok(());
    }
    Err(MethodError::refused(
        "Lockdown",
        format!(
            "the kernel is locked down and refuses writes to configuration space; it would have \
             been: {}",
            writes.join("; ")
        ),
        "switch off Secure Boot, or set the bits by the kernel command line: \
         'pci=config_acs=' (Linux 6.11 and later)",
    ))
}
