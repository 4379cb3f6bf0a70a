//! What stands in the way of taking a device, in words that name people and programs.

use vfioctl_core::Snapshot;
use vfioctl_core::claim::{Claim, Original, Owner};
use vfioctl_core::iommu::Separation;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::{BindPlan, Refusal, plan_bind};
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
    match plan_bind(snapshot, claims, address) {
        Ok(plan) => {
            refuse_reduced(helper, snapshot, claims, &plan, uid)?;
            Ok(plan)
        }
        Err(Refusal::Claimed { address, owner }) => Err(claimed(helper, address, &owner)),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Devices that only the kernel's old groups keep apart, since ACS bits have been cleared, do not
/// go to different people.
fn refuse_reduced(
    helper: &Helper,
    snapshot: &Snapshot,
    claims: &[Claim],
    plan: &BindPlan,
    uid: u32,
) -> Result<(), MethodError> {
    if claims.iter().all(|claim| claim.owner.uid == uid) {
        return Ok(());
    }
    let separation = Separation::of(snapshot, &read_platform(&helper.root));
    for original in &plan.originals {
        for partner in separation.reduced_partners(original.address) {
            let other = claims
                .iter()
                .find(|claim| claim.holds(partner) && claim.owner.uid != uid);
            if let Some(other) = other {
                let refusal = Refusal::IsolationReduced {
                    asked: original.address,
                    partner,
                    owner: other.owner.clone(),
                };
                return Err(refusal.into());
            }
        }
    }
    Ok(())
}

/// That a device belongs to someone.
pub(crate) fn claimed(helper: &Helper, address: PciAddress, owner: &Owner) -> MethodError {
    let owner = helper.describe_owner(owner);
    MethodError::refused(
        "Claimed",
        format!("{address} belongs to {owner}"),
        format!("ask {owner} to release it, or choose another device"),
    )
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
