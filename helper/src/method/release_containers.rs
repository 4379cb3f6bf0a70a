//! `Release` of what containers use. Only root may: a claim that its runner has left behind is in
//! everyone's way, and one of a container that runs is all that keeps its device from being taken.

use std::collections::BTreeSet;

use vfioctl_core::claim::Claim;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::refuse_claimed;

use super::session::Session;
use crate::MethodError;
use crate::helper::Helper;
use crate::refuse::refused;

/// The claims of the containers that use a function; empty where none does.
///
/// # Errors
/// `InContainer`, where some do and the caller is not root.
pub(super) fn find_containers(
    session: &Session,
    address: PciAddress,
) -> Result<Vec<Claim>, MethodError> {
    let mut claims = session.helper.state.claims();
    claims.retain(|claim| claim.holds(address) && claim.owner.container().is_some());
    if session.peer.is_root() {
        return Ok(claims);
    }
    refuse_claimed(&claims, address, address).map_err(|refusal| {
        let mut error = refused(&session.helper, refusal);
        if let MethodError::Refused { hint, .. } = &mut error {
            *hint = format!(
                "end the container; where only its claim was left behind, root can end that: 'sudo \
                 vfioctl release {address}'"
            );
        }
        error
    })?;
    Ok(claims)
}

/// The functions of some claims, each once.
pub(super) fn members_of_all(claims: &[Claim]) -> Vec<String> {
    let originals = claims.iter().flat_map(|claim| &claim.originals);
    let addresses: BTreeSet<PciAddress> = originals.map(|original| original.address).collect();
    addresses.iter().map(ToString::to_string).collect()
}

/// Ends claims; nothing is done to the devices.
pub(super) fn end_claims(helper: &Helper, claims: &[Claim]) -> Result<(), MethodError> {
    for claim in claims {
        helper.state.remove_claim(claim)?;
    }
    Ok(())
}
