//! `/dev/`: whether a node is there.

use vfioctl_core::Answer;

use crate::SysRoot;

/// Asks the folder, not the node: a node that may not be opened is there all the same.
pub(super) fn read_node(root: &SysRoot, name: &str) -> Answer<bool> {
    super::seen(root.dev.list(".")).map(|names| names.iter().any(|entry| entry == name))
}
