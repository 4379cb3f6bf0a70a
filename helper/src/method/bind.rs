//! `Bind`: takes a device, with all that goes with it, for the caller.

use vfioctl_core::claim::{Claim, Owner};
use vfioctl_core::pci::{GroupId, PciAddress};
use vfioctl_core::plan::{BindPlan, find_groups};
use vfioctl_protocol::device as io;
use vfioctl_protocol::wire;
use vfioctl_scan::{HostView, read_slot, read_snapshot};

use super::session::Session;
use crate::apply::take;
use crate::helper::{Helper, now};
use crate::limits::MAX_CLAIMS_A_USER;
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

pub(super) fn plan(session: &Session, address: &str) -> Result<io::PlanBind_Reply, MethodError> {
    let address = parse_address(address)?;
    let plan = look_and_plan(&session.helper, address, session.peer.uid)?;
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
    progress: &mut dyn FnMut(io::Step),
) -> Result<io::Claim, MethodError> {
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
    let bound = try_bind(helper, address, seen, &owner, progress);
    let outcome = bound.as_ref().map_or_else(MethodError::outcome, |_| "done");
    audit::record(&session.peer, "bind", &address, outcome);
    bound.map(|claim| wire::claim(&claim, helper.user_name(owner.uid)))
}

fn try_bind(
    helper: &Helper,
    address: PciAddress,
    seen: Option<Vec<PciAddress>>,
    owner: &Owner,
    progress: &mut dyn FnMut(io::Step),
) -> Result<Claim, MethodError> {
    helper.wait_until_ready();
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
    let claim = Claim {
        owner: owner.clone(),
        originals: plan.originals,
        since: now(),
    };
    take(helper, &claim, &plan.steps, &mut |step| {
        progress(wire::step(step))
    })?;
    grant(helper, &plan.groups, owner.uid);
    Ok(claim)
}

/// A user who bound a device can open it: that is what binding is for. Where that fails, the
/// device is bound all the same, and the log says what is missing.
fn grant(helper: &Helper, groups: &[GroupId], uid: u32) {
    for group in groups {
        if let Err(error) = helper.kernel.grant_group(*group, uid) {
            audit::error(&format!(
                "cannot give uid {uid} the VFIO node of group {group}: {error}"
            ));
        }
    }
}

fn look_and_plan(helper: &Helper, address: PciAddress, uid: u32) -> Result<BindPlan, MethodError> {
    let snapshot = read_snapshot(&helper.root, HostView::Required)?;
    plan_device(helper, &snapshot, &helper.state.claims(), address, uid)
}
