//! `/sys/firmware/acpi/tables/`: whether firmware describes an IOMMU.
//!
//! The tables are for root; their names are for everyone, and are enough: firmware leaves the
//! table out where the IOMMU is switched off in its setup.

use vfioctl_core::Answer;

use crate::SysRoot;

/// DMAR: Intel VT-d. IVRS: AMD-Vi. IORT: Arm SMMU.
const NAMES: [&str; 3] = ["DMAR", "IVRS", "IORT"];

pub(crate) fn read_iommu_tables(root: &SysRoot) -> Answer<Vec<String>> {
    super::seen(root.sys.list("firmware/acpi/tables")).map(|names| {
        names
            .into_iter()
            .filter(|name| NAMES.contains(&name.as_str()))
            .collect()
    })
}
