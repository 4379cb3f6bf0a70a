//! Keeping pins: whoever has pinned a device has it again, after a reboot, a crash, a hot-plug.

use std::sync::PoisonError;

use vfioctl_core::Snapshot;
use vfioctl_core::claim::{Claim, Owner, Purpose};
use vfioctl_core::pci::{DriverName, GroupId, PciAddress};
use vfioctl_core::pin::Pin;
use vfioctl_core::plan::{BindPlan, Leftover, Step, find_groups, refuse_claimed};
use vfioctl_protocol::device::Recovered;
use vfioctl_protocol::wire;
use vfioctl_scan::{HostView, read_slot, read_snapshot};

use crate::apply::{Home, bring_home, grant, groups_of, look_at, take};
use crate::helper::{Helper, now};
use crate::refuse::{plan_device, refuse_in_use, refused};
use crate::state::ClaimRecord;
use crate::{MethodError, audit};

/// How a pin stands to its device.
enum Look {
    /// Its user has the device, or a machine of theirs.
    Held,
    /// The device is there and can be bound; the claim of the past, where there is one.
    Ready(Option<Claim>),
    /// The device is not there, is another one, or someone else's.
    Away(String),
}

/// Why a pin could not be kept.
enum NotKept {
    /// Somebody works on the device at this moment, or has just released it.
    Later,
    /// For a reason.
    Because(String),
}

/// Binds every pinned device that is there and not held, renews its claim, and tells what was
/// done and which pins could not be kept.
pub(crate) fn keep_pins(helper: &Helper) -> Vec<Recovered> {
    let keeping = &helper.pins.keeping;
    let _one_at_a_time = keeping.lock().unwrap_or_else(PoisonError::into_inner);
    let standings = helper.pins.all().into_iter();
    standings
        .filter_map(|standing| keep(helper, &standing.pin))
        .collect()
}

/// What [`keep_pins`] would do.
pub(crate) fn plan_pins(helper: &Helper) -> Vec<Recovered> {
    let standings = helper.pins.all().into_iter();
    standings
        .filter_map(|standing| {
            let pin = &standing.pin;
            let planned = match look(helper, pin) {
                Look::Held => return None,
                Look::Away(because) => Err(because),
                Look::Ready(own) => plan_again(helper, pin, own.as_ref())
                    .map(|plan| plan.steps)
                    .map_err(|error| error.message()),
            };
            Some(describe(helper, pin, planned, true))
        })
        .collect()
}

fn keep(helper: &Helper, pin: &Pin) -> Option<Recovered> {
    let kept = match look(helper, pin) {
        Look::Held => {
            helper.pins.tell(pin, None);
            return None;
        }
        Look::Away(because) => Err(NotKept::Because(because)),
        Look::Ready(own) => bind_again(helper, pin, own.as_ref()),
    };
    let done = match kept {
        Ok(steps) => {
            helper.pins.tell(pin, None);
            audit::info(&format!("pinned {} is held again", names(pin)));
            Ok(steps)
        }
        Err(NotKept::Later) => return None,
        Err(NotKept::Because(because)) => {
            take_home(helper, pin);
            if helper.pins.tell(pin, Some(&because)) {
                audit::warning(&format!("pin of {} is not kept: {because}", names(pin)));
            }
            Err(because)
        }
    };
    Some(describe(helper, pin, done, false))
}

/// The claim that the pin's user, or a machine of theirs, has of the very functions.
fn own_claim(helper: &Helper, pin: &Pin) -> Option<ClaimRecord> {
    let mut records = helper.state.claim_records().into_iter();
    records.find(|record| pin.is_held_by(&record.claim))
}

fn look(helper: &Helper, pin: &Pin) -> Look {
    let own = own_claim(helper, pin);
    let owner = own.as_ref().map(|own| &own.claim.owner);
    if owner.is_some_and(|owner| helper.machines.is_living(owner)) {
        return Look::Held;
    }
    let snapshot = match look_at(helper, &pin.originals) {
        Ok(snapshot) => snapshot,
        Err(error) => return Look::Away(error.message()),
    };
    if let Some(mismatch) = pin.find_mismatch(&snapshot) {
        return Look::Away(match mismatch {
            Leftover::Missing(address) => format!("{address} is not there"),
            other => other.to_string(),
        });
    }
    let claims = helper.state.claims().into_iter();
    let others: Vec<Claim> = claims.filter(|claim| !pin.is_held_by(claim)).collect();
    for original in &pin.originals {
        let address = original.address;
        if let Err(refusal) = refuse_claimed(&others, address, address) {
            return Look::Away(refused(helper, refusal).message());
        }
    }
    let is_current = own.as_ref().is_some_and(|own| {
        own.claim.owner.purpose == Purpose::Person && own.boot_id == helper.state.boot_id()
    });
    if is_current && are_on_vfio(&snapshot, pin) {
        return Look::Held;
    }
    Look::Ready(own.map(|own| own.claim))
}

fn are_on_vfio(snapshot: &Snapshot, pin: &Pin) -> bool {
    pin.originals.iter().all(|original| {
        let function = snapshot.function(original.address);
        let driver = function.and_then(|function| function.driver.as_ref());
        driver.is_some_and(DriverName::is_vfio)
    })
}

fn plan_again(helper: &Helper, pin: &Pin, own: Option<&Claim>) -> Result<BindPlan, MethodError> {
    let changed = || {
        MethodError::refused(
            "Changed",
            format!("what goes with {} is not what was pinned", names(pin)),
            "release it and pin it again",
        )
    };
    let first = pin.originals.first().ok_or_else(changed)?.address;
    let snapshot = read_snapshot(&helper.root, HostView::Required)?;
    let claims: Vec<Claim> = helper.state.claims();
    let others: Vec<Claim> = claims
        .into_iter()
        .filter(|claim| Some(claim) != own)
        .collect();
    let plan = plan_device(helper, &snapshot, &others, first, pin.uid)?;
    let planned: Vec<PciAddress> = plan.originals.iter().map(|each| each.address).collect();
    let pinned: Vec<PciAddress> = pin.originals.iter().map(|each| each.address).collect();
    // Looked at again, since the device may be another one by now.
    if planned != pinned || pin.find_mismatch(&snapshot).is_some() {
        return Err(changed());
    }
    Ok(plan)
}

/// Binds as anybody would bind; what was before is what the pin remembers.
fn bind_again(helper: &Helper, pin: &Pin, own: Option<&Claim>) -> Result<Vec<Step>, NotKept> {
    let because = |error: MethodError| match error {
        MethodError::Refused { reason, .. } if reason == "Busy" => NotKept::Later,
        error => NotKept::Because(error.message()),
    };
    let owner = Owner::person(pin.uid);
    let groups = groups_with(helper, pin).map_err(because)?;
    let _reservation = helper.reserve(&groups, &owner).map_err(because)?;
    // Who releases a device holds the same right while they unpin it.
    if !helper.pins.has(pin) {
        return Err(NotKept::Later);
    }
    let plan = plan_again(helper, pin, own).map_err(because)?;
    if plan.groups != groups {
        return Err(NotKept::Later);
    }
    if !plan.steps.is_empty() {
        refuse_in_use(helper, &plan.originals).map_err(because)?;
    }
    let claim = pin.claim(own.map_or_else(now, |own| own.since));
    let mut steps = Vec::new();
    let progress = &mut |step: &Step| steps.push(step.clone());
    take(helper, &claim, &plan.steps, progress).map_err(because)?;
    grant(helper, &groups, pin.uid);
    Ok(steps)
}

fn groups_with(helper: &Helper, pin: &Pin) -> Result<Vec<GroupId>, MethodError> {
    let Some(first) = pin.originals.first() else {
        return Ok(Vec::new());
    };
    let slot = read_slot(&helper.root, first.address)?;
    Ok(find_groups(&slot, first.address)?.into_iter().collect())
}

/// What a pin that is not kept has of its device goes home: a claim of the past, or the functions
/// that udev aimed at vfio-pci by the part of the pin that still fits.
fn take_home(helper: &Helper, pin: &Pin) {
    let claim = match own_claim(helper, pin) {
        // Half of it may be gone for a moment only; notices end it when all is.
        Some(own) if own.boot_id == helper.state.boot_id() && !is_over(helper, &own.claim) => {
            return;
        }
        Some(own) => own.claim,
        None => pin.claim(now()),
    };
    let is_of_another = claim.originals.iter().any(|original| {
        let held = helper.state.claim_of(original.address);
        held.is_some_and(|held| held != claim)
    });
    if is_of_another {
        return;
    }
    let groups = groups_of(helper, &claim);
    if let Ok(_reservation) = helper.reserve(&groups, &claim.owner) {
        let _told_as_the_pin = bring_home(helper, &claim);
    }
}

/// A machine's claim whose machine has ended.
fn is_over(helper: &Helper, claim: &Claim) -> bool {
    claim.owner.purpose != Purpose::Person && !helper.machines.is_living(&claim.owner)
}

/// A machine that had a pinned device has ended: its user has the device again, as a person, and
/// it stays on vfio-pci. `None` where it is not pinned, or not there. To be called by whoever may
/// work on its groups.
pub(crate) fn keep_after_machine(helper: &Helper, claim: &Claim) -> Option<Vec<String>> {
    let pin = helper.pins.of(claim)?;
    let snapshot = look_at(helper, &pin.originals).ok()?;
    if pin.find_mismatch(&snapshot).is_some() || !are_on_vfio(&snapshot, &pin) {
        return None;
    }
    if let Err(error) = helper.state.put_claim(&pin.claim(now())) {
        audit::error(&error.to_string());
        return None;
    }
    let stays = |address: PciAddress| format!("{address} stays on vfio-pci: it is pinned");
    Some(pin.originals.iter().map(|o| stays(o.address)).collect())
}

fn names(pin: &Pin) -> String {
    let names: Vec<String> = pin
        .originals
        .iter()
        .map(|o| o.address.to_string())
        .collect();
    names.join(" ")
}

fn describe(
    helper: &Helper,
    pin: &Pin,
    done: Result<Vec<Step>, String>,
    is_plan: bool,
) -> Recovered {
    let owner = Owner::person(pin.uid);
    let is_kept = done.is_ok() && !is_plan;
    let home = match done {
        Ok(steps) => Home {
            steps,
            ..Home::default()
        },
        Err(because) => Home {
            leftovers: vec![because],
            ..Home::default()
        },
    };
    Recovered {
        owner: wire::owner(&owner, helper.user_name(owner.uid)),
        found: "a pinned device".to_owned(),
        addresses: pin
            .originals
            .iter()
            .map(|o| o.address.to_string())
            .collect(),
        steps: home.steps.iter().map(wire::step).collect(),
        leftovers: home.leftovers,
        home: is_kept,
        pinned: true,
    }
}
