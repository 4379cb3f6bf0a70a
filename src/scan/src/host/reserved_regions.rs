//! `/sys/kernel/iommu_groups/N/reserved_regions`: memory that firmware keeps for a device (RMRR).
//!
//! A region of the type `direct` must stay mapped one to one, so no guest can have the group:
//! `EPERM` at `VFIO_SET_IOMMU` in 6.1, `EINVAL` from 6.6 on. `direct-relaxable` (graphics, USB)
//! does no harm.

use std::collections::BTreeSet;

use vfioctl_core::Answer;
use vfioctl_core::pci::GroupId;

use crate::SysRoot;

const FOLDER: &str = "kernel/iommu_groups";

pub(super) fn read_reserved_groups(root: &SysRoot) -> Answer<BTreeSet<GroupId>> {
    let Ok(names) = root.sys.list(FOLDER) else {
        return Answer::CannotSee;
    };
    let mut reserved = BTreeSet::new();
    for name in names.unwrap_or_default() {
        let Ok(number) = name.parse() else { continue };
        match root
            .sys
            .read_text(&format!("{FOLDER}/{name}/reserved_regions"))
        {
            Ok(Some(text)) if has_direct(&text) => {
                reserved.insert(GroupId(number));
            }
            // The group went away, or has no such file.
            Ok(_) => {}
            Err(_) => return Answer::CannotSee,
        }
    }
    Answer::Known(reserved)
}

/// A line is `0x00000000fee00000 0x00000000feefffff msi`.
fn has_direct(text: &str) -> bool {
    text.lines()
        .any(|line| line.split_whitespace().nth(2) == Some("direct"))
}
