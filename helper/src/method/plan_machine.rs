//! `Plan` of a machine: what it would take and run.

use vfioctl_protocol::machine::{Plan_Reply, Spec};
use vfioctl_protocol::wire::spec_from_wire;

use super::session::Session;
use crate::MethodError;
use crate::machine;
use crate::policy::authorise_machine;

pub(super) fn plan_machine(session: &Session, spec: &Spec) -> Result<Plan_Reply, MethodError> {
    let spec = spec_from_wire(spec)?;
    let _may_start = authorise_machine(&session.peer)?;
    let plan = machine::plan(&session.helper, &session.peer, &spec)?;
    Ok(Plan_Reply {
        arguments: plan.arguments,
        steps: plan.steps.iter().map(ToString::to_string).collect(),
        start_timeout_s: i64::try_from(plan.start_timeout.as_secs()).unwrap_or(i64::MAX),
    })
}
