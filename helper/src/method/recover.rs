//! `Recover`: takes home what has no living owner.

use std::sync::PoisonError;

use vfioctl_protocol::device::Recovered;

use super::session::Session;
use crate::recover::{plan_recovery, recover as recover_now};
use crate::{MethodError, audit};

pub(super) fn recover(session: &Session, commit: bool) -> Result<Vec<Recovered>, MethodError> {
    let helper = &session.helper;
    helper.wait_until_ready();
    if !commit {
        return plan_recovery(helper);
    }
    // What the helper did by itself when it started is told to the first who asks.
    let mut recovered = std::mem::take(
        &mut *helper
            .recovered
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    // But for pins that were not kept then: these are tried again, and told as they are now.
    recovered.retain(|each| !each.pinned || each.home);
    recovered.extend(recover_now(helper)?);
    audit::record(&session.peer, "recover", &recovered.len(), "done");
    Ok(recovered)
}
