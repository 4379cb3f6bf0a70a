//! `/dev/kvm`: whether this user can open it.

use vfioctl_core::Answer;
use vfioctl_core::check::KvmNode;

use crate::SysRoot;

/// Whether this process may run guests by KVM.
pub fn read_kvm_node(root: &SysRoot) -> Answer<KvmNode> {
    match super::nodes::read_node(root, "kvm") {
        Answer::CannotSee => Answer::CannotSee,
        Answer::Known(false) => Answer::Known(KvmNode::Absent),
        // Opened and closed, not read: mode bits do not tell what an access list grants
        // (systemd-logind gives /dev/kvm to who sits at the machine).
        Answer::Known(true) => match root.dev.read_bytes("kvm", 0) {
            Ok(Some(_)) => Answer::Known(KvmNode::Usable),
            // The node is there and no driver is behind it.
            Ok(None) => Answer::Known(KvmNode::Absent),
            Err(error) if error.is_permission_denied() => Answer::Known(KvmNode::NotPermitted),
            Err(_) => Answer::CannotSee,
        },
    }
}
