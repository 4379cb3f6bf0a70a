//! `Stop`: ends a machine and waits for its devices.

use std::time::Duration;

use vfioctl_protocol::machine::{Info, Stop_Args_how};
use vfioctl_protocol::wire::WireError;

use super::list_machines::find_machine;
use super::session::Session;
use crate::limits::{MAX_STOP_TIME, STOP_TIME};
use crate::machine::{self, How};
use crate::{MethodError, audit};

pub(super) fn stop_machine(
    session: &Session,
    name: &str,
    how: Option<Stop_Args_how>,
    timeout_s: Option<i64>,
    progress: &mut dyn FnMut(&str),
) -> Result<Info, MethodError> {
    let how = match how {
        Some(Stop_Args_how::quit) => How::Quit,
        Some(Stop_Args_how::powerdown) | None => How::Powerdown(parse_timeout(timeout_s)?),
    };
    let machine = find_machine(session, name)?;
    let stopped = machine::stop(&machine, how, progress);
    let outcome = stopped
        .as_ref()
        .map_or_else(MethodError::outcome, |()| "done");
    audit::record(&session.peer, "vm stop", machine.name(), outcome);
    stopped.map(|()| machine.info(&session.helper))
}

fn parse_timeout(timeout_s: Option<i64>) -> Result<Duration, MethodError> {
    let Some(seconds) = timeout_s else {
        return Ok(STOP_TIME);
    };
    let timeout = u64::try_from(seconds).map(Duration::from_secs).ok();
    timeout
        .filter(|timeout| *timeout <= MAX_STOP_TIME)
        .ok_or_else(|| {
            let because = format!(
                "{seconds} is not within 0 to {} seconds",
                MAX_STOP_TIME.as_secs()
            );
            WireError {
                field: "timeout_s",
                because,
            }
            .into()
        })
}
