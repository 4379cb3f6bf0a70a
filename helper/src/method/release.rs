//! `Release`: gives a device back to the drivers it had.

use vfioctl_core::claim::{Claim, Purpose};
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::Refusal;
use vfioctl_protocol::device as io;
use vfioctl_protocol::wire;
use vfioctl_scan::{read_device_nodes, read_holders};

use super::bind::parse_address;
use super::session::Session;
use crate::apply::{give_back, groups_of, plan_home};
use crate::helper::Helper;
use crate::policy::{MayRelease, authorise_release};
use crate::{MethodError, audit};

pub(super) fn plan(
    session: &Session,
    address: &str,
) -> Result<(Vec<String>, Vec<io::Step>), MethodError> {
    let address = parse_address(address)?;
    let (claim, _may) = find_claim(session, address)?;
    let plan = plan_home(&session.helper, &claim.originals)?;
    let members = claim
        .originals
        .iter()
        .map(|original| original.address.to_string())
        .collect();
    Ok((members, plan.steps.iter().map(wire::step).collect()))
}

pub(super) fn release(
    session: &Session,
    address: &str,
    progress: &mut dyn FnMut(io::Step),
) -> Result<(Vec<String>, Vec<String>), MethodError> {
    let address = parse_address(address)?;
    session.helper.wait_until_ready();
    let released = try_release(session, address, progress);
    let outcome = released
        .as_ref()
        .map_or_else(MethodError::outcome, |_| "done");
    audit::record(&session.peer, "release", &address, outcome);
    released
}

fn try_release(
    session: &Session,
    address: PciAddress,
    progress: &mut dyn FnMut(io::Step),
) -> Result<(Vec<String>, Vec<String>), MethodError> {
    let helper = &session.helper;
    let (claim, _may) = find_claim(session, address)?;
    let groups = groups_of(helper, &claim);
    let _reservation = helper.reserve(&groups, &claim.owner)?;
    // Found again, now that nobody else works on these groups.
    let (claim, may) = find_claim(session, address)?;
    refuse_in_use(helper, &claim)?;
    let home = apply(helper, &may, &claim, progress)?;
    let released = claim
        .originals
        .iter()
        .map(|original| original.address.to_string())
        .collect();
    if home.is_pending {
        return Err(MethodError::failed(
            home.leftovers.join("; "),
            "end the programs that use the device, then run 'vfioctl recover'",
            false,
        ));
    }
    Ok((released, home.leftovers))
}

fn apply(
    helper: &Helper,
    _may: &MayRelease,
    claim: &Claim,
    progress: &mut dyn FnMut(io::Step),
) -> Result<crate::apply::Home, MethodError> {
    give_back(helper, claim, &mut |step| progress(wire::step(step)))
}

fn find_claim(session: &Session, address: PciAddress) -> Result<(Claim, MayRelease), MethodError> {
    let helper = &session.helper;
    let Some(claim) = helper.state.claim_of(address) else {
        let is_there = vfioctl_scan::read_function(&helper.root, address)?.is_some();
        return Err(if is_there {
            Refusal::NotClaimed(address).into()
        } else {
            Refusal::UnknownAddress(address).into()
        });
    };
    let may = authorise_release(&session.peer, &claim, address).map_err(|_| {
        let owner = helper.describe_owner(&claim.owner);
        MethodError::refused(
            "NotOwner",
            format!("{address} belongs to {owner}, not to you"),
            format!("ask {owner} to release it"),
        )
    })?;
    if let Purpose::Machine(name) = &claim.owner.purpose
        && helper.machines.is_alive(claim.owner.uid, name)
    {
        let owner = claim.owner.clone();
        return Err(Refusal::InMachine { address, owner }.into());
    }
    Ok((claim, may))
}

/// The kernel would hold an unbind for as long as a program has the group open.
fn refuse_in_use(helper: &Helper, claim: &Claim) -> Result<(), MethodError> {
    let groups = groups_of(helper, claim);
    let nodes: Vec<String> = claim
        .originals
        .iter()
        .flat_map(|original| {
            groups
                .iter()
                .flat_map(|group| read_device_nodes(&helper.root, original.address, Some(*group)))
        })
        .collect();
    let holders = read_holders(&helper.root, &nodes);
    let Some(holder) = holders.first() else {
        return Ok(());
    };
    Err(MethodError::refused(
        "InUse",
        format!(
            "'{}' is held open by {} (process {})",
            holder.node, holder.name, holder.pid
        ),
        "end that program and ask again",
    ))
}
