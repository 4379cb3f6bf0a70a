//! The machine, as plans about ACS need it.

use std::collections::BTreeMap;

use vfioctl_core::claim::Claim;
use vfioctl_core::iommu::Separation;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::{PowerControl, Regrouping};
use vfioctl_core::{Answer, Snapshot};
use vfioctl_scan::{HostView, read_platform, read_power_controls, read_snapshot};

use crate::MethodError;
use crate::helper::Helper;

/// The machine, as plans about ACS need it.
pub(crate) struct Looked {
    pub(crate) snapshot: Snapshot,
    separation: Separation,
    claims: Vec<Claim>,
    power: BTreeMap<PciAddress, PowerControl>,
}

/// Looks at the whole machine.
pub(crate) fn look(helper: &Helper) -> Result<Looked, MethodError> {
    let snapshot = read_snapshot(&helper.root, HostView::Required)?;
    let ports = snapshot
        .functions
        .values()
        .filter(|function| matches!(function.acs, Answer::Known(Some(_))))
        .map(|function| function.address);
    Ok(Looked {
        power: read_power_controls(&helper.root, ports)?,
        separation: Separation::of(&snapshot, &read_platform(&helper.root)),
        claims: helper.state.claims(),
        snapshot,
    })
}

impl Looked {
    /// What plans are made of.
    pub(crate) fn regrouping(&self) -> Regrouping<'_> {
        Regrouping {
            snapshot: &self.snapshot,
            separation: &self.separation,
            claims: &self.claims,
            power: &self.power,
        }
    }
}
