//! `Isolate`: sets the bits that keep devices apart, and lets the kernel group them anew.

use vfioctl_core::pci::PciAddress;
use vfioctl_protocol::acs as io;
use vfioctl_protocol::wire;

use super::{Done, exclusively, parse_addresses, run};
use crate::method::session::Session;
use crate::refuse::refused;
use crate::regroup::look;
use crate::{MethodError, audit};

pub(in crate::method) fn plan_isolate(
    session: &Session,
    addresses: &[String],
) -> Result<io::Plan, MethodError> {
    let addresses = parse_addresses(addresses)?;
    let looked = look(&session.helper)?;
    let plan = looked
        .regrouping()
        .plan_override(&addresses)
        .map_err(|refusal| refused(&session.helper, refusal))?;
    Ok(wire::override_plan(&plan))
}

pub(in crate::method) fn isolate(
    session: &Session,
    addresses: &[String],
    members: Option<Vec<String>>,
    progress: &mut dyn FnMut(io::Step),
) -> Result<Done, MethodError> {
    let addresses = parse_addresses(addresses)?;
    let members = members.as_deref().map(parse_addresses).transpose()?;
    let done = try_isolate(session, &addresses, members, progress);
    let outcome = done.as_ref().map_or_else(MethodError::outcome, |_| "done");
    let object = match addresses.as_slice() {
        [] => "all".to_owned(),
        some => some
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
    };
    audit::record(&session.peer, "acs-isolate", &object, outcome);
    done
}

fn try_isolate(
    session: &Session,
    addresses: &[PciAddress],
    members: Option<Vec<PciAddress>>,
    progress: &mut dyn FnMut(io::Step),
) -> Result<Done, MethodError> {
    let helper = &session.helper;
    helper.wait_until_ready();
    exclusively(helper, || {
        let looked = look(helper)?;
        let plan = looked
            .regrouping()
            .plan_override(addresses)
            .map_err(|refusal| refused(helper, refusal))?;
        let now: Vec<PciAddress> = plan.regroup.originals.iter().map(|o| o.address).collect();
        if members.is_some_and(|seen| seen != now) {
            return Err(MethodError::refused(
                "Changed",
                "what would be removed and found again has changed since it was looked at",
                "look at the new plan with 'vfioctl acs override --plan' and ask again",
            ));
        }
        let described = wire::override_plan(&plan);
        run(
            session,
            &looked.snapshot,
            &plan.regroup,
            described,
            progress,
        )
    })
}
