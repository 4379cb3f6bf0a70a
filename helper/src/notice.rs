//! What follows when a device came or went: udev says that something did, not what.

use std::sync::PoisonError;

use vfioctl_core::claim::Claim;
use vfioctl_core::pci::DriverName;
use vfioctl_core::pin::Pin;

use crate::apply::{bring_home, groups_of, look_at};
use crate::helper::Helper;
use crate::pin::keep_pins;
use crate::{MethodError, audit};

/// Ends claims of devices that went away, and binds pinned devices that are back.
///
/// # Errors
/// Where the machine or the journal cannot be read.
pub(crate) fn notice(helper: &Helper) -> Result<(), MethodError> {
    let journal = helper.state.journal()?;
    for record in helper.state.claim_records() {
        let claim = record.claim;
        let is_worked_on = journal.iter().any(|entry| {
            let mut originals = entry.claim.originals.iter();
            originals.any(|original| claim.holds(original.address))
        });
        // What recovery ends or finishes is not a matter of coming and going.
        let is_current = record.boot_id == helper.state.boot_id();
        if claim.owner.container().is_some() {
            end_container_if_gone(helper, &claim)?;
        // Its own end takes the devices of a machine home.
        } else if is_current && !is_worked_on && !helper.machines.is_living(&claim.owner) {
            end_if_gone(helper, &claim)?;
        }
    }
    keep_pins(helper);
    Ok(())
}

/// A container that has none of its devices any more uses none; another device in the place of one
/// is not its. Nothing was done to them, and nothing is.
fn end_container_if_gone(helper: &Helper, claim: &Claim) -> Result<(), MethodError> {
    let containers = helper.containers.lock();
    let _one_at_a_time = containers.unwrap_or_else(PoisonError::into_inner);
    let snapshot = look_at(helper, &claim.originals)?;
    let is_there = claim.originals.iter().any(|original| {
        let function = snapshot.function(original.address);
        function.is_some_and(|function| function.identity == original.identity)
    });
    let container = claim.owner.container();
    let now = container.and_then(|it| helper.state.claim_of_container(claim.owner.uid, &it.name));
    if is_there || now.as_ref() != Some(claim) {
        return Ok(());
    }
    helper.state.remove_claim(claim)?;
    audit::info(&format!(
        "{} went away: the claim of {} has ended",
        addresses_of(claim),
        claim.owner
    ));
    Ok(())
}

/// Where every function is gone, or was away and is back: the kernel forgets `driver_override`
/// and driver with the device, so nothing of what the claim says is left.
fn end_if_gone(helper: &Helper, claim: &Claim) -> Result<(), MethodError> {
    let snapshot = look_at(helper, &claim.originals)?;
    let is_lost = claim.originals.iter().all(|original| {
        snapshot.function(original.address).is_none_or(|function| {
            let is_on_vfio = function.driver.as_ref().is_some_and(DriverName::is_vfio);
            function.identity != original.identity || !is_on_vfio
        })
    });
    let is_back = Pin::of(claim, 0).is_some_and(|it| it.find_mismatch(&snapshot).is_none());
    if !is_lost || (is_back && helper.pins.of(claim).is_some()) {
        return Ok(());
    }
    let groups = groups_of(helper, claim);
    let Ok(_reservation) = helper.reserve(&groups, &claim.owner) else {
        return Ok(());
    };
    // Meanwhile another may have released it, or taken it.
    let first = claim.originals.first().map(|original| original.address);
    if first
        .and_then(|first| helper.state.claim_of(first))
        .as_ref()
        != Some(claim)
    {
        return Ok(());
    }
    let home = bring_home(helper, claim);
    audit::info(&format!(
        "{} went away: the claim of {} has ended; {}",
        addresses_of(claim),
        claim.owner,
        home.leftovers.join("; ")
    ));
    Ok(())
}

fn addresses_of(claim: &Claim) -> String {
    let originals = claim.originals.iter();
    let addresses: Vec<String> = originals.map(|o| o.address.to_string()).collect();
    addresses.join(" ")
}
