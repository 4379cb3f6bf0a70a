//! `Restore`: takes changes of ACS back.

use vfioctl_core::claim::Owner;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::{Cycle, PortOriginal, RegroupPlan};
use vfioctl_protocol::acs as io;
use vfioctl_protocol::wire;

use super::{Done, exclusively, parse_addresses, run};
use crate::method::session::Session;
use crate::refuse::refused;
use crate::regroup::{ChangeRecord, Looked, look};
use crate::{MethodError, audit};

pub(in crate::method) fn plan_restore(
    session: &Session,
    addresses: &[String],
) -> Result<io::Plan, MethodError> {
    let addresses = parse_addresses(addresses)?;
    let looked = look(&session.helper)?;
    Ok(wire::regroup_plan(&plan(session, &looked, &addresses)?))
}

pub(in crate::method) fn restore(
    session: &Session,
    addresses: &[String],
    progress: &mut dyn FnMut(io::Step),
) -> Result<Done, MethodError> {
    let addresses = parse_addresses(addresses)?;
    let helper = &session.helper;
    helper.wait_until_ready();
    let done = exclusively(helper, || {
        let looked = look(helper)?;
        let plan = plan(session, &looked, &addresses)?;
        let described = wire::regroup_plan(&plan);
        run(session, &looked.snapshot, &plan, described, progress)
    });
    let outcome = done.as_ref().map_or_else(MethodError::outcome, |_| "done");
    audit::record(&session.peer, "acs-restore", &addresses.len(), outcome);
    done
}

fn plan(
    session: &Session,
    looked: &Looked,
    addresses: &[PciAddress],
) -> Result<RegroupPlan, MethodError> {
    let changes = session.helper.acs.changes();
    for address in addresses {
        if !changes
            .iter()
            .any(|change| change.original.address == *address)
        {
            return Err(MethodError::refused(
                "NotChanged",
                format!("the ACS bits of {address} were not changed by vfioctl since the boot"),
                "see what was with 'vfioctl acs audit'",
            ));
        }
    }
    let is_meant = |change: &&ChangeRecord| {
        addresses.is_empty() || addresses.contains(&change.original.address)
    };
    let changes: Vec<&ChangeRecord> = changes.iter().filter(is_meant).collect();
    let ports: Vec<PortOriginal> = changes
        .iter()
        .map(|change| change.original.clone())
        .collect();
    let mut cycles: Vec<Cycle> = changes
        .iter()
        .flat_map(|change| change.cycles.clone())
        .collect();
    cycles.sort();
    cycles.dedup();
    let owner = Owner::person(session.peer.uid);
    looked
        .regrouping()
        .plan_back(&ports, cycles, &owner)
        .map_err(|refusal| refused(&session.helper, refusal))
}
