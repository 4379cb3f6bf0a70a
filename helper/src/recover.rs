//! Taking home what has no living owner: after a crash, a kill, a reboot.

use std::sync::{Arc, PoisonError};

use vfioctl_core::claim::{Claim, Owner, Purpose};
use vfioctl_protocol::device::Recovered;
use vfioctl_protocol::wire;

use crate::apply::{Home, bring_home, groups_of, plan_home};
use crate::helper::Helper;
use crate::limits::MAX_RECOVERED;
use crate::machine;
use crate::pin::{keep_pins, plan_pins};
use crate::regroup::{Regroup, plan_undo, undo};
use crate::state::Change;
use crate::{MethodError, audit};

/// Something left behind.
struct Orphan {
    found: &'static str,
    claim: Claim,
}

/// Runs when the helper starts; what it did is kept for the next one who asks.
pub(crate) fn recover_at_start(helper: &Arc<Helper>) {
    machine::adopt_all(helper);
    match recover(helper) {
        Ok(recovered) => {
            let mut kept = helper
                .recovered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            kept.extend(recovered);
            kept.truncate(MAX_RECOVERED);
        }
        Err(error) => audit::error(&format!("recovery at start failed: {error:?}")),
    }
}

/// What would be taken home.
pub(crate) fn plan_recovery(helper: &Helper) -> Result<Vec<Recovered>, MethodError> {
    let mut planned = Vec::new();
    if let Some(regroup) = helper.acs.unfinished() {
        let home = Home {
            steps: plan_undo(helper, &regroup),
            is_pending: true,
            ..Home::default()
        };
        planned.push(describe_regroup(helper, &regroup, &home));
    }
    for orphan in find_orphans(helper)? {
        let plan = plan_home(helper, &orphan.claim.originals)?;
        let home = Home {
            steps: plan.steps,
            leftovers: plan.leftovers.iter().map(ToString::to_string).collect(),
            is_pending: true,
        };
        planned.push(describe(helper, &orphan, &home));
    }
    planned.extend(plan_pins(helper));
    Ok(planned)
}

/// Takes everything home that has no living owner, and then binds what is pinned.
pub(crate) fn recover(helper: &Helper) -> Result<Vec<Recovered>, MethodError> {
    let mut recovered = Vec::new();
    // First: a device that is not there cannot be bound. While somebody works on it, it has a
    // living owner.
    if let Ok(_guard) = helper.regrouping.try_lock()
        && let Some(regroup) = helper.acs.unfinished()
    {
        let home = undo(helper, &regroup);
        let done = describe_regroup(helper, &regroup, &home);
        audit::info(&format!("recovered {}; home={}", done.found, done.home));
        recovered.push(done);
    }
    for orphan in find_orphans(helper)? {
        let groups = groups_of(helper, &orphan.claim);
        // Somebody works on it right now: then it has a living owner after all.
        let Ok(_reservation) = helper.reserve(&groups, &orphan.claim.owner) else {
            continue;
        };
        let home = bring_home(helper, &orphan.claim);
        let done = describe(helper, &orphan, &home);
        audit::info(&format!(
            "recovered {}: {}; home={}",
            done.addresses.join(" "),
            done.found,
            done.home
        ));
        recovered.push(done);
    }
    recovered.extend(keep_pins(helper));
    Ok(recovered)
}

fn find_orphans(helper: &Helper) -> Result<Vec<Orphan>, MethodError> {
    let mut orphans: Vec<Orphan> = helper
        .state
        .journal()?
        .into_iter()
        .map(|entry| {
            let found = match entry.change {
                Change::Bind => "a bind that was not finished",
                Change::Release => "a release that was not finished",
            };
            Orphan {
                found,
                claim: entry.claim,
            }
        })
        .collect();
    for record in helper.state.claim_records() {
        let claim = record.claim;
        let is_journaled = orphans.iter().any(|orphan| {
            orphan
                .claim
                .originals
                .iter()
                .any(|original| claim.holds(original.address))
        });
        let found = match &claim.owner.purpose {
            _ if is_journaled => continue,
            // Nothing was done to its devices. It ends with its boot, when the claims are read.
            Purpose::Container(_) => continue,
            // It is not taken home only to be bound again.
            _ if helper.pins.of(&claim).is_some() => continue,
            Purpose::Machine(name) if !helper.machines.is_alive(claim.owner.uid, name) => {
                "a machine that does not run any more"
            }
            Purpose::Person if record.boot_id != helper.state.boot_id() => {
                "a claim from before the last boot"
            }
            Purpose::Machine(_) | Purpose::Person => continue,
        };
        orphans.push(Orphan { found, claim });
    }
    Ok(orphans)
}

fn describe_regroup(helper: &Helper, regroup: &Regroup, home: &Home) -> Recovered {
    let ports = regroup.ports.iter().map(|port| port.address);
    let members = regroup.originals.iter().map(|original| original.address);
    Recovered {
        owner: wire::owner(&Owner::person(regroup.uid), helper.user_name(regroup.uid)),
        found: "a change of ACS that was not finished".to_owned(),
        addresses: ports.chain(members).map(|at| at.to_string()).collect(),
        steps: home.steps.iter().map(wire::step).collect(),
        leftovers: home.leftovers.clone(),
        home: !home.is_pending,
        pinned: false,
    }
}

fn describe(helper: &Helper, orphan: &Orphan, home: &Home) -> Recovered {
    let owner = &orphan.claim.owner;
    Recovered {
        owner: wire::owner(owner, helper.user_name(owner.uid)),
        found: orphan.found.to_owned(),
        addresses: orphan
            .claim
            .originals
            .iter()
            .map(|o| o.address.to_string())
            .collect(),
        steps: home.steps.iter().map(wire::step).collect(),
        leftovers: home.leftovers.clone(),
        home: !home.is_pending,
        pinned: false,
    }
}
