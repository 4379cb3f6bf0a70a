//! `ListClaims`: who has what, and who shall have it always.

use vfioctl_core::pin::Pin;
use vfioctl_protocol::device::ListClaims_Reply;
use vfioctl_protocol::wire;

use crate::helper::Helper;

pub(super) fn list_claims(helper: &Helper) -> ListClaims_Reply {
    let claims = helper.state.claims();
    let pins = helper.pins.all().into_iter().map(|standing| {
        let Pin { uid, .. } = standing.pin;
        wire::pin(&standing.pin, helper.user_name(uid), standing.problem)
    });
    ListClaims_Reply {
        claims: claims
            .iter()
            .map(|claim| wire::claim(claim, helper.user_name(claim.owner.uid)))
            .collect(),
        pins: pins.collect(),
    }
}
