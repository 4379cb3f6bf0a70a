//! `Describe`: looks at the whole machine.

use vfioctl_protocol::inventory::Describe_Reply;
use vfioctl_protocol::wire;
use vfioctl_scan::{HostView, read_snapshot};

use crate::MethodError;
use crate::helper::Helper;

pub(super) fn describe(helper: &Helper) -> Result<Describe_Reply, MethodError> {
    Ok(wire::snapshot(&read_snapshot(
        &helper.root,
        HostView::Required,
    )?))
}
