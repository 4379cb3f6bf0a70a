//! `Set`: switches ACS bits of one function on and off, by name.

use vfioctl_core::acs::AcsChange;
use vfioctl_core::claim::Owner;
use vfioctl_core::pci::PciAddress;
use vfioctl_protocol::acs as io;
use vfioctl_protocol::wire;

use super::{Done, exclusively, run};
use crate::method::bind::parse_address;
use crate::method::session::Session;
use crate::refuse::refused;
use crate::regroup::look;
use crate::{MethodError, audit};

fn parse_change(text: &str) -> Result<AcsChange, MethodError> {
    text.parse()
        .map_err(|error: vfioctl_core::acs::InvalidAcsChange| {
            wire::WireError {
                field: "bits",
                because: error.to_string(),
            }
            .into()
        })
}

pub(in crate::method) fn plan_set(
    session: &Session,
    address: &str,
    bits: &str,
    regroup: bool,
) -> Result<io::Plan, MethodError> {
    let (address, change) = (parse_address(address)?, parse_change(bits)?);
    let owner = Owner::person(session.peer.uid);
    let looked = look(&session.helper)?;
    let plan = looked
        .regrouping()
        .plan_set(address, change, regroup, &owner)
        .map_err(|refusal| refused(&session.helper, refusal))?;
    Ok(wire::regroup_plan(&plan))
}

pub(in crate::method) fn set(
    session: &Session,
    address: &str,
    bits: &str,
    regroup: bool,
    progress: &mut dyn FnMut(io::Step),
) -> Result<Done, MethodError> {
    let (address, change) = (parse_address(address)?, parse_change(bits)?);
    let done = try_set(session, address, change, regroup, progress);
    let outcome = done.as_ref().map_or_else(MethodError::outcome, |_| "done");
    audit::record(
        &session.peer,
        "acs-set",
        &format!("{address} {change}"),
        outcome,
    );
    done
}

fn try_set(
    session: &Session,
    address: PciAddress,
    change: AcsChange,
    regroup: bool,
    progress: &mut dyn FnMut(io::Step),
) -> Result<Done, MethodError> {
    let helper = &session.helper;
    let owner = Owner::person(session.peer.uid);
    helper.wait_until_ready();
    exclusively(helper, || {
        let looked = look(helper)?;
        let plan = looked
            .regrouping()
            .plan_set(address, change, regroup, &owner)
            .map_err(|refusal| refused(helper, refusal))?;
        let described = wire::regroup_plan(&plan);
        run(session, &looked.snapshot, &plan, described, progress)
    })
}
