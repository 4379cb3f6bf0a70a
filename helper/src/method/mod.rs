//! The methods: one file a verb, each in the same order: parse, validate, peer, authorise, look
//! and plan, apply.

mod acs;
mod bind;
mod container;
mod create_machine;
mod describe;
mod list_claims;
mod list_machines;
mod notice;
mod plan_machine;
mod read_log;
mod recover;
mod release;
mod release_containers;
mod remove_machine;
mod reply;
mod session;
mod start_machine;
mod stop_machine;

use std::sync::Arc;

use varlink::VarlinkService;

use crate::helper::Helper;
use crate::peer::Peer;

use session::Session;

/// All interfaces, for one caller.
pub(crate) fn service(helper: &Arc<Helper>, peer: &Peer) -> VarlinkService {
    let session = || {
        Box::new(Session {
            helper: Arc::clone(helper),
            peer: peer.clone(),
        })
    };
    VarlinkService::new(
        "vfioctl",
        "vfioctl helper",
        env!("CARGO_PKG_VERSION"),
        "https://varlink.org/Interface-Definition",
        vec![
            Box::new(vfioctl_protocol::inventory::new(session())),
            Box::new(vfioctl_protocol::device::new(session())),
            Box::new(vfioctl_protocol::container::new(session())),
            Box::new(vfioctl_protocol::acs::new(session())),
            Box::new(vfioctl_protocol::machine::new(session())),
        ],
    )
}
