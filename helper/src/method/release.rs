//! `Release`: gives a device back to the drivers it had.

use std::sync::PoisonError;

use vfioctl_core::claim::{Claim, Purpose};
use vfioctl_core::pci::PciAddress;
use vfioctl_core::pin::Pin;
use vfioctl_core::plan::Refusal;
use vfioctl_protocol::device as io;
use vfioctl_protocol::wire;
use vfioctl_scan::{read_device_nodes, read_holders};

use super::bind::parse_address;
use super::release_containers::{end_claims, find_containers, members_of_all};
use super::session::Session;
use crate::apply::{give_back, groups_of, plan_home};
use crate::helper::Helper;
use crate::policy::{MayRelease, authorise_release};
use crate::refuse::refused;
use crate::{MethodError, audit};

pub(super) fn plan(session: &Session, address: &str) -> Result<io::PlanRelease_Reply, MethodError> {
    let address = parse_address(address)?;
    let containers = find_containers(session, address)?;
    if !containers.is_empty() {
        return Ok(io::PlanRelease_Reply {
            members: members_of_all(&containers),
            steps: Vec::new(),
            unpinned: Vec::new(),
        });
    }
    let (claim, pins) = find(session, address)?;
    let Some((claim, _may)) = claim else {
        return Ok(io::PlanRelease_Reply {
            members: Vec::new(),
            steps: Vec::new(),
            unpinned: addresses_of(&pins),
        });
    };
    let plan = plan_home(&session.helper, &claim.originals)?;
    Ok(io::PlanRelease_Reply {
        members: members_of(&claim),
        steps: plan.steps.iter().map(wire::step).collect(),
        unpinned: addresses_of(&pins),
    })
}

pub(super) fn release(
    session: &Session,
    address: &str,
    progress: &mut dyn FnMut(io::Step),
) -> Result<io::Release_Reply, MethodError> {
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
) -> Result<io::Release_Reply, MethodError> {
    let helper = &session.helper;
    if let Some(released) = release_containers(session, address)? {
        return Ok(reply(released, Vec::new(), &[]));
    }
    let (claim, pins) = find(session, address)?;
    let Some((claim, _may)) = claim else {
        unpin(helper, &pins)?;
        return Ok(reply(Vec::new(), Vec::new(), &pins));
    };
    let groups = groups_of(helper, &claim);
    let _reservation = helper.reserve(&groups, &claim.owner)?;
    // Found again, now that nobody else works on these groups.
    let (claim, may) = find_claim(session, address)?;
    let pins = find_pins(session, &claim, address);
    refuse_in_use(helper, &claim)?;
    // First, so that a release that is cut off is not bound again by the next boot.
    unpin(helper, &pins)?;
    let home = apply(helper, &may, &claim, progress)?;
    if home.is_pending {
        return Err(MethodError::failed(
            home.leftovers.join("; "),
            "end the programs that use the device, then run 'vfioctl recover'",
            false,
        ));
    }
    Ok(reply(members_of(&claim), home.leftovers, &pins))
}

/// The functions that were released; `None` where no container uses the one that was named.
fn release_containers(
    session: &Session,
    address: PciAddress,
) -> Result<Option<Vec<String>>, MethodError> {
    let helper = &session.helper;
    let containers = helper.containers.lock();
    let _one_at_a_time = containers.unwrap_or_else(PoisonError::into_inner);
    let claims = find_containers(session, address)?;
    end_claims(helper, &claims)?;
    Ok((!claims.is_empty()).then(|| members_of_all(&claims)))
}

fn reply(released: Vec<String>, leftovers: Vec<String>, pins: &[Pin]) -> io::Release_Reply {
    io::Release_Reply {
        step: None,
        released: Some(released),
        leftovers: Some(leftovers),
        unpinned: Some(addresses_of(pins)),
    }
}

fn members_of(claim: &Claim) -> Vec<String> {
    let originals = claim.originals.iter();
    originals.map(|o| o.address.to_string()).collect()
}

fn addresses_of(pins: &[Pin]) -> Vec<String> {
    let originals = pins.iter().flat_map(|pin| &pin.originals);
    originals.map(|o| o.address.to_string()).collect()
}

fn unpin(helper: &Helper, pins: &[Pin]) -> Result<(), MethodError> {
    for pin in pins {
        helper.pins.remove(pin).map_err(|error| {
            MethodError::failed(
                format!("cannot forget the pin: {error}"),
                "mend the file system of /etc/vfioctl/pinned; nothing was released",
                true,
            )
        })?;
    }
    Ok(())
}

/// The claim to give back and the pins to forget: one of them at least.
fn find(session: &Session, address: PciAddress) -> Result<Found, MethodError> {
    match find_claim(session, address) {
        Ok((claim, may)) => {
            let pins = find_pins(session, &claim, address);
            Ok((Some((claim, may)), pins))
        }
        // A pin that is not kept has no claim.
        Err(error) if session.helper.state.claim_of(address).is_none() => {
            let pins = session.helper.pins.at(&[address]);
            let Some(pin) = pins.first() else {
                return Err(error);
            };
            let (own, _): (Vec<Pin>, Vec<Pin>) = pins
                .iter()
                .cloned()
                .partition(|pin| may_unpin(session, pin));
            if own.is_empty() {
                let claim = pin.claim(pin.since);
                return Err(not_owner(session, &claim, address));
            }
            Ok((None, own))
        }
        Err(error) => Err(error),
    }
}

type Found = (Option<(Claim, MayRelease)>, Vec<Pin>);

/// The caller's pins of anything at the addresses of a claim: a device that was released is not
/// bound again, nor is another one that was pinned there once.
fn find_pins(session: &Session, claim: &Claim, address: PciAddress) -> Vec<Pin> {
    let mut addresses: Vec<PciAddress> = claim.originals.iter().map(|o| o.address).collect();
    addresses.push(address);
    let mut pins = session.helper.pins.at(&addresses);
    pins.retain(|pin| may_unpin(session, pin));
    pins
}

fn may_unpin(session: &Session, pin: &Pin) -> bool {
    let claim = pin.claim(pin.since);
    pin.originals
        .first()
        .is_some_and(|first| authorise_release(&session.peer, &claim, first.address).is_ok())
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
    let may =
        authorise_release(&session.peer, &claim, address).map_err(|refusal| match refusal {
            Refusal::NotOwner { .. } => not_owner(session, &claim, address),
            other => refused(helper, other),
        })?;
    if let Purpose::Machine(name) = &claim.owner.purpose
        && helper.machines.is_alive(claim.owner.uid, name)
    {
        let owner = claim.owner.clone();
        return Err(refused(helper, Refusal::InMachine { address, owner }));
    }
    Ok((claim, may))
}

fn not_owner(session: &Session, claim: &Claim, address: PciAddress) -> MethodError {
    let owner = session.helper.describe_owner(&claim.owner);
    MethodError::refused(
        "NotOwner",
        format!("{address} belongs to {owner}, not to you"),
        format!("ask {owner} to release it"),
    )
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
