//! `ListChanges`: which ports were changed since the boot.

use vfioctl_protocol::acs as io;
use vfioctl_protocol::wire;

use crate::helper::Helper;

pub(in crate::method) fn list_changes(helper: &Helper) -> Vec<io::Change> {
    let changes = helper.acs.changes();
    changes
        .iter()
        .map(|change| io::Change {
            address: change.original.address.to_string(),
            before: wire::bit_names(change.original.control),
            after: wire::bit_names(change.control),
            uid: change.uid.into(),
            user: helper.user_name(change.uid),
            since: i64::try_from(change.since).unwrap_or(i64::MAX),
        })
        .collect()
}
