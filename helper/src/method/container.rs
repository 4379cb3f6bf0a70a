//! `Claim` and `End`: which functions a container uses, and that it uses them no more.
//!
//! Every member of the group may, for containers of their own. Nothing is done to a device: what is
//! written is who uses it, and everything else that takes devices asks there first.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use vfioctl_core::Snapshot;
use vfioctl_core::claim::{Claim, Container, ContainerName, Owner, Purpose};
use vfioctl_core::pci::{GroupId, PciAddress};
use vfioctl_core::plan::plan_container;
use vfioctl_protocol::container as io;
use vfioctl_protocol::wire::{WireError, container_request_from_wire};
use vfioctl_scan::{HostView, read_function, read_snapshot};

use super::session::Session;
use crate::helper::{Helper, now};
use crate::limits::{MAX_CONTAINER_FUNCTIONS, MAX_CONTAINERS_A_USER};
use crate::refuse::{refuse_reduced, refuse_unfinished, refused};
use crate::{MethodError, audit};

pub(super) fn claim(
    session: &Session,
    request: &io::Claim_Args,
) -> Result<io::Claim_Reply, MethodError> {
    let (container, addresses) = container_request_from_wire(request)?;
    if addresses.len() > MAX_CONTAINER_FUNCTIONS {
        return Err(WireError {
            field: "addresses",
            because: format!("there are more than {MAX_CONTAINER_FUNCTIONS}"),
        }
        .into());
    }
    let helper = &session.helper;
    helper.wait_until_ready();
    let claimed = {
        let containers = helper.containers.lock();
        let _one_at_a_time = containers.unwrap_or_else(PoisonError::into_inner);
        try_claim(helper, session.peer.uid, &container, &addresses)
    };
    let outcome = claimed
        .as_ref()
        .map_or_else(MethodError::outcome, |_| "done");
    let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let object = format!("{} {}", container.name, names.join(","));
    audit::record(&session.peer, "container-claim", &object, outcome);
    claimed
}

pub(super) fn end(session: &Session, name: &str) -> Result<(), MethodError> {
    let name: ContainerName = name.parse().map_err(
        |error: vfioctl_core::claim::InvalidContainerName| WireError {
            field: "name",
            because: error.to_string(),
        },
    )?;
    let helper = &session.helper;
    helper.wait_until_ready();
    let ended = try_end(helper, session.peer.uid, &name);
    let outcome = ended
        .as_ref()
        .map_or_else(MethodError::outcome, |()| "done");
    audit::record(&session.peer, "container-end", &name, outcome);
    ended
}

fn try_claim(
    helper: &Helper,
    uid: u32,
    container: &Container,
    addresses: &[PciAddress],
) -> Result<io::Claim_Reply, MethodError> {
    if let Some(standing) = helper.state.claim_of_container(uid, &container.name) {
        return same_again(&standing, container, addresses);
    }
    refuse_too_many(helper, uid)?;
    let owner = Owner {
        uid,
        purpose: Purpose::Container(container.clone()),
    };
    // Whoever binds or groups anew has reserved the groups before they look; so one of the two
    // comes first, and the other one sees what it did.
    let groups = groups_of(&look(helper, addresses)?);
    let _reservation = helper.reserve(&groups, &owner)?;
    refuse_unfinished(helper, addresses)?;
    let snapshot = look(helper, addresses)?;
    if groups_of(&snapshot) != groups {
        return Err(MethodError::refused(
            "Changed",
            "the devices have been grouped anew meanwhile",
            "ask again",
        ));
    }
    let claims = helper.state.claims();
    let originals = plan_container(&snapshot, &claims, addresses, container.exclusive)
        .map_err(|refusal| refused(helper, refusal))?;
    // Containers leave the devices to the host's own drivers, so they are no strangers to each
    // other; a guest's device that is not kept apart is one.
    let is_stranger = |owner: &Owner| owner.uid != uid && owner.container().is_none();
    if claims.iter().any(|claim| is_stranger(&claim.owner)) {
        let machine = read_snapshot(&helper.root, HostView::BestEffort)?;
        refuse_reduced(helper, &machine, &claims, &originals, is_stranger)?;
    }
    let claim = Claim {
        owner,
        originals,
        since: now(),
    };
    helper.state.put_claim(&claim)?;
    Ok(reply(&claim, false))
}

/// A runner that was cut off asks again; it has what it asked for.
fn same_again(
    standing: &Claim,
    container: &Container,
    addresses: &[PciAddress],
) -> Result<io::Claim_Reply, MethodError> {
    let held = standing.originals.iter().map(|original| original.address);
    let is_same = held.collect::<BTreeSet<_>>() == addresses.iter().copied().collect()
        && standing
            .owner
            .container()
            .is_some_and(|it| it.exclusive == container.exclusive);
    if is_same {
        Ok(reply(standing, true))
    } else {
        Err(MethodError::ContainerExists(container.name.to_string()))
    }
}

fn reply(claim: &Claim, already: bool) -> io::Claim_Reply {
    let since = i64::try_from(claim.since).unwrap_or(i64::MAX);
    io::Claim_Reply { already, since }
}

fn refuse_too_many(helper: &Helper, uid: u32) -> Result<(), MethodError> {
    let is_own = |claim: &&Claim| claim.owner.uid == uid && claim.owner.container().is_some();
    if helper.state.claims().iter().filter(is_own).count() < MAX_CONTAINERS_A_USER {
        return Ok(());
    }
    Err(MethodError::refused(
        "TooManyClaims",
        format!(
            "{MAX_CONTAINERS_A_USER} containers of yours have devices, and no user may have more"
        ),
        "end the claims of those that have ended",
    ))
}

fn try_end(helper: &Helper, uid: u32, name: &ContainerName) -> Result<(), MethodError> {
    let containers = helper.containers.lock();
    let _one_at_a_time = containers.unwrap_or_else(PoisonError::into_inner);
    let claim = helper
        .state
        .claim_of_container(uid, name)
        .ok_or_else(|| MethodError::NoSuchContainer(name.to_string()))?;
    Ok(helper.state.remove_claim(&claim)?)
}

/// The functions, and nothing else of the machine.
fn look(helper: &Helper, addresses: &[PciAddress]) -> Result<Snapshot, MethodError> {
    let mut snapshot = Snapshot::default();
    for address in addresses {
        if let Some(function) = read_function(&helper.root, *address)? {
            snapshot.functions.insert(*address, function);
        }
    }
    Ok(snapshot)
}

/// Where no IOMMU covers a function it has none, and nobody can take it from its driver.
fn groups_of(snapshot: &Snapshot) -> Vec<GroupId> {
    let functions = snapshot.functions.values();
    let groups: BTreeSet<GroupId> = functions.filter_map(|it| it.iommu_group).collect();
    groups.into_iter().collect()
}
