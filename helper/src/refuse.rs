//! What stands in the way of taking a device, in words that name people and programs.

use vfioctl_core::Snapshot;
use vfioctl_core::claim::{Claim, Original, Owner};
use vfioctl_core::iommu::Separation;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::{BindPlan, Refusal, plan_bind, refuse_claimed};
use vfioctl_scan::{read_device_nodes, read_holders, read_platform};

use crate::MethodError;
use crate::helper::Helper;

/// Plans to take a device; refusals name the owner as people know them, which core cannot.
pub(crate) fn plan_device(
    helper: &Helper,
    snapshot: &Snapshot,
    claims: &[Claim],
    address: PciAddress,
    uid: u32,
) -> Result<BindPlan, MethodError> {
    let plan = plan_bind(snapshot, claims, address).map_err(|refusal| refused(helper, refusal))?;
    let is_foreign = |owner: &Owner| owner.uid != uid;
    refuse_reduced(helper, snapshot, claims, &plan.originals, is_foreign)?;
    Ok(plan)
}

/// Devices that only the kernel's old groups keep apart, since ACS bits have been cleared, do not
/// go to people who are strangers to each other.
pub(crate) fn refuse_reduced(
    helper: &Helper,
    snapshot: &Snapshot,
    claims: &[Claim],
    originals: &[Original],
    is_stranger: impl Fn(&Owner) -> bool,
) -> Result<(), MethodError> {
    if !claims.iter().any(|claim| is_stranger(&claim.owner)) {
        return Ok(());
    }
    let separation = Separation::of(snapshot, &read_platform(&helper.root));
    for original in originals {
        for partner in separation.reduced_partners(original.address) {
            let other = claims
                .iter()
                .find(|claim| claim.holds(partner) && is_stranger(&claim.owner));
            if let Some(other) = other {
                let refusal = Refusal::IsolationReduced {
                    asked: original.address,
                    partner,
                    owner: other.owner.clone(),
                };
                return Err(refused(helper, refusal));
            }
        }
    }
    Ok(())
}

/// A refusal that calls the owner by name, as people know them.
pub(crate) fn refused(helper: &Helper, refusal: Refusal) -> MethodError {
    let Some(owner) = refusal.owner() else {
        return refusal.into();
    };
    let name = helper.describe_owner(owner);
    MethodError::refused(
        refusal.name(),
        refusal.sentence_calling(&name),
        refusal.hint_calling(&name),
    )
}

/// Between the look and the reservation another may have been faster: nobody has any of the
/// functions now.
pub(crate) fn refuse_late_claim(
    helper: &Helper,
    originals: &[Original],
) -> Result<(), MethodError> {
    let claims = helper.state.claims();
    for original in originals {
        let address = original.address;
        refuse_claimed(&claims, address, address).map_err(|refusal| refused(helper, refusal))?;
    }
    Ok(())
}

/// What a change that was cut off has left, recovery brings home: unbound and bound, removed and
/// found again, behind the back of whoever took it meanwhile. So nobody does.
pub(crate) fn refuse_unfinished(
    helper: &Helper,
    addresses: &[PciAddress],
) -> Result<(), MethodError> {
    let journal = helper.state.journal()?;
    let binds = journal.iter().flat_map(|entry| &entry.claim.originals);
    let regroup = helper.acs.unfinished();
    let regrouped = regroup.iter().flat_map(|regroup| &regroup.originals);
    let is_meant = |original: &&Original| addresses.contains(&original.address);
    match binds.chain(regrouped).find(is_meant) {
        None => Ok(()),
        Some(original) => Err(MethodError::refused(
            "Unfinished",
            format!(
                "a change of {} has not been finished, or is being made at this moment",
                original.address
            ),
            "ask again in a moment, or run 'vfioctl recover' where nobody is at it",
        )),
    }
}

/// A driver whose device is in use may never let go of it, and the write that asks it to would
/// hang with it; so whoever has it open is named, and nothing is begun.
pub(crate) fn refuse_in_use(helper: &Helper, originals: &[Original]) -> Result<(), MethodError> {
    for original in originals {
        let nodes = read_device_nodes(&helper.root, original.address, None);
        if nodes.is_empty() {
            continue;
        }
        let names: Vec<String> = read_holders(&helper.root, &nodes)
            .iter()
            .map(|holder| format!("{} (process {}, {})", holder.name, holder.pid, holder.node))
            .collect();
        if !names.is_empty() {
            return Err(MethodError::refused(
                "InUse",
                format!("{} is in use by {}", original.address, names.join(", ")),
                "end these programs and ask again",
            ));
        }
    }
    Ok(())
}
