//! `Bind`: takes a device, with all that goes with it, for the caller.

use vfioctl_core::claim::{Claim, Owner};
use vfioctl_core::pci::{GroupId, PciAddress};
use vfioctl_core::plan::{BindPlan, find_groups};
use vfioctl_protocol::device as io;
use vfioctl_protocol::wire;
use vfioctl_scan::{HostView, read_slot, read_snapshot};

use super::session::Session;
use crate::apply::{give_back, grant, groups_of, take};
use crate::helper::{Helper, now};
use crate::limits::MAX_CLAIMS_A_USER;
use crate::pin::{pin_claim, refuse_pin};
use crate::refuse::{plan_device, refuse_in_use};
use crate::{MethodError, audit};

pub(super) fn parse_address(text: &str) -> Result<PciAddress, MethodError> {
    text.parse()
        .map_err(|error: vfioctl_core::pci::AddressError| {
            wire::WireError {
                field: "address",
                because: format!("'{}': {error}", text.escape_debug()),
            }
            .into()
        })
}

pub(super) fn plan(
    session: &Session,
    address: &str,
    persist: bool,
) -> Result<io::PlanBind_Reply, MethodError> {
    let address = parse_address(address)?;
    let plan = look_and_plan(&session.helper, address, session.peer.uid)?;
    if persist {
        refuse_pin(&session.helper, &plan.originals, session.peer.uid)?;
    }
    Ok(io::PlanBind_Reply {
        members: plan
            .originals
            .iter()
            .map(|original| original.address.to_string())
            .collect(),
        groups: plan.groups.iter().map(|group| group.0.into()).collect(),
        steps: plan.steps.iter().map(wire::step).collect(),
    })
}

pub(super) fn bind(
    session: &Session,
    address: &str,
    members: Option<Vec<String>>,
    persist: bool,
    progress: &mut dyn FnMut(io::Step),
) -> Result<(io::Claim, bool), MethodError> {
    let helper = &session.helper;
    let address = parse_address(address)?;
    let seen = members
        .map(|members| {
            members
                .iter()
                .map(|at| parse_address(at))
                .collect::<Result<Vec<_>, _>>()
        })
        .transpose()?;
    let owner = Owner::person(session.peer.uid);
    helper.wait_until_ready();
    let bound = match own_claim(helper, address, &owner) {
        Some(claim) if persist => pin_own(helper, claim),
        _ => try_bind(helper, address, seen, &owner, persist, progress),
    };
    let outcome = bound.as_ref().map_or_else(MethodError::outcome, |_| "done");
    let verb = if persist { "bind --persist" } else { "bind" };
    audit::record(&session.peer, verb, &address, outcome);
    let claim = bound?;
    let is_pinned = helper.pins.of(&claim).is_some();
    Ok((wire::claim(&claim, helper.user_name(owner.uid)), is_pinned))
}

fn own_claim(helper: &Helper, address: PciAddress, owner: &Owner) -> Option<Claim> {
    let claim = helper.state.claim_of(address)?;
    (claim.owner == *owner).then_some(claim)
}

/// Whoever has the device already keeps it.
fn pin_own(helper: &Helper, claim: Claim) -> Result<Claim, MethodError> {
    let _reservation = helper.reserve(&groups_of(helper, &claim), &claim.owner)?;
    // Released meanwhile, it would be pinned without an owner.
    let first = claim.originals.first().map(|original| original.address);
    match first.and_then(|first| own_claim(helper, first, &claim.owner)) {
        Some(now) if now == claim => pin_claim(helper, &claim).map(|()| claim),
        _ => Err(MethodError::refused(
            "Changed",
            "the device was released meanwhile",
            "ask again",
        )),
    }
}

fn try_bind(
    helper: &Helper,
    address: PciAddress,
    seen: Option<Vec<PciAddress>>,
    owner: &Owner,
    persist: bool,
    progress: &mut dyn FnMut(io::Step),
) -> Result<Claim, MethodError> {
    if helper
        .state
        .claims()
        .iter()
        .filter(|claim| claim.owner == *owner)
        .count()
        >= MAX_CLAIMS_A_USER
    {
        return Err(MethodError::refused(
            "TooManyClaims",
            format!("you hold {MAX_CLAIMS_A_USER} devices, and no user may hold more"),
            "release one first; 'vfioctl list --all' shows them",
        ));
    }
    // The slot alone tells the groups; the whole machine is looked at once nobody else can work on
    // them.
    let groups: Vec<GroupId> = find_groups(&read_slot(&helper.root, address)?, address)?
        .into_iter()
        .collect();
    let _reservation = helper.reserve(&groups, owner)?;
    let plan = look_and_plan(helper, address, owner.uid)?;
    let members: Vec<PciAddress> = plan.originals.iter().map(|o| o.address).collect();
    if plan.groups != groups || seen.is_some_and(|seen| seen != members) {
        return Err(MethodError::refused(
            "Changed",
            format!("what goes with {address} has changed since it was looked at"),
            format!("look at the new plan with 'vfioctl bind {address} --plan' and ask again"),
        ));
    }
    refuse_in_use(helper, &plan.originals)?;
    if persist {
        refuse_pin(helper, &plan.originals, owner.uid)?;
    }
    let claim = Claim {
        owner: owner.clone(),
        originals: plan.originals,
        since: now(),
    };
    take(helper, &claim, &plan.steps, &mut |step| {
        progress(wire::step(step))
    })?;
    grant(helper, &plan.groups, owner.uid);
    if persist && let Err(error) = pin_claim(helper, &claim) {
        // Half of what was asked for is nothing: it goes back.
        give_back(helper, &claim, &mut |_| {})?;
        return Err(error);
    }
    Ok(claim)
}

fn look_and_plan(helper: &Helper, address: PciAddress, uid: u32) -> Result<BindPlan, MethodError> {
    let snapshot = read_snapshot(&helper.root, HostView::Required)?;
    plan_device(helper, &snapshot, &helper.state.claims(), address, uid)
}
