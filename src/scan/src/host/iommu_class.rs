//! `/sys/class/iommu/`: the IOMMUs that the kernel drives, by name (`dmar0`, `ivhd0`; since 4.4).

use vfioctl_core::Answer;

use crate::SysRoot;

pub(super) fn read_iommus(root: &SysRoot) -> Answer<Vec<String>> {
    match root.sys.list("class/iommu") {
        Ok(names) => Answer::Known(names.unwrap_or_default()),
        Err(_) => Answer::CannotSee,
    }
}
