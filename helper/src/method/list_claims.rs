//! `ListClaims`: who has what.

use vfioctl_protocol::device::Claim;
use vfioctl_protocol::wire;

use crate::helper::Helper;

pub(super) fn list_claims(helper: &Helper) -> Vec<Claim> {
    let claims = helper.state.claims();
    claims
        .iter()
        .map(|claim| wire::claim(claim, helper.user_name(claim.owner.uid)))
        .collect()
}
