//! `vfioctl acs audit`: what the separation of each GPU is worth.

use vfioctl_core::Answer;
use vfioctl_core::acs::{Platform, TABLE_DATE};
use vfioctl_core::iommu::{Audit, Hop, Separation, Verdict as Separated};
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::Refusal;
use vfioctl_protocol::acs;
use vfioctl_scan::read_platform;

use crate::Done;
use crate::failure::Failure;
use crate::names::Names;
use crate::record::{AuditRecord, AuditedRecord, ChangeRecord, HopRecord, OpenSwitchRecord};
use crate::seen::{SeenBy, read_seen};
use crate::session::Session;
use crate::verdict::Verdict;
use crate::view::{View, acs_record};

/// Answers `vfioctl acs audit`: yes where every device is isolated, no where one is not, and
/// neither where that cannot be seen.
pub(super) fn run(devices: &[PciAddress], session: &mut Session<'_>) -> Done {
    let seen = read_seen(session)?;
    let root = session.root()?;
    let names = Names::read(&root);
    let changes = match seen.by {
        SeenBy::Helper => {
            let changes = session.helper()?.acs_changes();
            Some(changes.map_err(|error| session.failure(&error))?)
        }
        SeenBy::User => None,
    };
    let view = View {
        seen: &seen,
        names: &names,
    };
    let devices = match devices {
        [] => seen.snapshot.gpus(),
        named => named.to_vec(),
    };
    let unknown = |at: &&PciAddress| seen.snapshot.function(**at).is_none();
    if let Some(unknown) = devices.iter().find(unknown) {
        let refusal = Refusal::UnknownAddress(*unknown);
        let failure = Failure::could_not(refusal.name(), refusal.to_string());
        return Err(failure.hint(refusal.hint()));
    }
    let (record, verdict) = audit(view, &read_platform(&root), &devices, changes);
    if record.devices.is_empty() {
        session
            .output
            .progress("this machine has no GPU; name a device, 'vfioctl list --all' lists them");
    }
    session.output.answer(&record)?;
    Ok(verdict)
}

fn audit(
    view: View<'_>,
    platform: &Platform,
    devices: &[PciAddress],
    changes: Option<Vec<acs::Change>>,
) -> (AuditRecord, Verdict) {
    let separation = Separation::of(&view.seen.snapshot, platform);
    let audits: Vec<Audit> = devices
        .iter()
        .filter_map(|device| separation.audit(*device))
        .collect();
    let is = |wanted: Separated| audits.iter().any(|audit| audit.verdict == wanted);
    let verdict = if audits
        .iter()
        .any(|audit| audit.verdict == Separated::Shared || audit.verdict.is_a_lie())
        || is(Separated::NotCovered)
    {
        Verdict::No
    } else if is(Separated::CannotSee) {
        Verdict::CouldNot
    } else {
        Verdict::Yes
    };
    let record = AuditRecord {
        seen_by: view.seen.by,
        quirk_table: TABLE_DATE,
        devices: audits.iter().map(|audit| audited(view, audit)).collect(),
        open_switches: separation
            .open_switches()
            .into_iter()
            .map(|switch| OpenSwitchRecord {
                upstream_port: switch.upstream_port.to_string(),
                ports: texts(&switch.ports),
            })
            .collect(),
        changes: changes.map(|changes| changes.into_iter().map(change).collect()),
        problems: view.problems(),
    };
    (record, verdict)
}

fn texts(addresses: &[PciAddress]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn audited(view: View<'_>, audit: &Audit) -> AuditedRecord {
    let function = view.seen.snapshot.function(audit.address);
    AuditedRecord {
        address: audit.address.to_string(),
        name: function.map(|it| view.names.line(it)).unwrap_or_default(),
        iommu_group: function.and_then(|it| it.iommu_group).map(|group| group.0),
        verdict: audit.verdict.name(),
        text: audit.verdict.to_string(),
        kernel_partners: texts(&audit.kernel_partners),
        register_partners: texts(&audit.register_partners),
        switch_partners: texts(&audit.switch_partners),
        hops: audit.hops.iter().map(|hop| hop_record(view, hop)).collect(),
    }
}

fn hop_record(view: View<'_>, hop: &Hop) -> HopRecord {
    let function = view.seen.snapshot.function(hop.address);
    HopRecord {
        address: hop.address.to_string(),
        name: function.map(|it| view.names.line(it)).unwrap_or_default(),
        pcie_type: hop.pcie_type.known().flatten().map(|kind| kind.to_string()),
        acs: hop.acs.known().flatten().map(acs_record),
        isolates: match hop.isolation.isolates {
            Answer::Known(isolates) => Some(isolates),
            Answer::CannotSee => None,
        },
        reason: hop.isolation.because.name(),
        because: hop.isolation.because.to_string(),
    }
}

fn change(wire: acs::Change) -> ChangeRecord {
    ChangeRecord {
        address: wire.address,
        before: wire.before,
        after: wire.after,
        uid: wire.uid,
        user: wire.user,
        since: wire.since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;
    use crate::sample;

    #[test]
    fn an_audit_has_the_shape_of_its_schema_seen_and_unseen() {
        let names = Names::default();
        for (seen, verdict) in [
            (sample::desktop(), None),
            (sample::desktop_unseen(), Some(Verdict::CouldNot)),
        ] {
            let view = View {
                seen: &seen,
                names: &names,
            };
            let (record, found) = audit(view, &Platform::default(), &seen.snapshot.gpus(), None);
            assert!(!record.devices.is_empty());
            assert_answer("acs-audit", &record);
            if let Some(verdict) = verdict {
                assert_eq!(found, verdict);
            }
        }
    }
}
