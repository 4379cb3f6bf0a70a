//! The fitness of this machine: what `vfioctl check` is told of the helper, and what its answer
//! means here. The checks themselves stand in `check`.

use vfioctl_core::Answer;
use vfioctl_core::check::{HelperState, Verdict as Fitness};
use vfioctl_protocol::{ClientError, LEVEL, NoHelper};

use super::check::{self, CheckArgs, Looked};
use crate::Done;
use crate::failure::Failure;
use crate::helper::Helper;
use crate::seen;
use crate::session::Session;
use crate::verdict::Verdict;

/// Answers `vfioctl check`. A helper that is missing is one of the things that are found.
pub(super) fn run(arguments: &CheckArgs, session: &mut Session<'_>) -> Done {
    let root = session.root()?;
    let checked = check::run(arguments, session.output.is_json(), &root, || look(session))?;
    session.output.write(checked.text.as_bytes())?;
    Ok(match checked.verdict {
        Fitness::Pass => Verdict::Yes,
        Fitness::Fail => Verdict::No,
    })
}

fn look(session: &Session<'_>) -> Result<Looked, Failure> {
    let helper = match session.try_helper() {
        Ok(helper) => {
            let state = answers(&helper);
            // A helper that greets and then fails is no reason not to check the rest.
            match seen::ask(helper, session) {
                Ok(seen) => return Ok(known(seen, state)),
                Err(_) => HelperState::Unknown,
            }
        }
        Err(NoHelper::TooOld(Some(version))) => HelperState::TooOld {
            version: version.version,
            level: version.level,
            needed: LEVEL,
        },
        Err(NoHelper::TooOld(None)) => HelperState::TooOld {
            version: "unknown".to_owned(),
            level: 0,
            needed: LEVEL,
        },
        Err(NoHelper::Unanswered(ClientError::NotRunning(_))) => HelperState::NotRunning,
        Err(NoHelper::Unanswered(ClientError::NotPermitted(_))) => HelperState::NotPermitted,
        Err(NoHelper::Unanswered(_)) => HelperState::Unknown,
    };
    Ok(known(seen::look(session)?, helper))
}

fn answers(helper: &Helper) -> HelperState {
    let version = helper.version();
    HelperState::Answers {
        version: version.version.clone(),
        level: version.level,
    }
}

fn known(seen: seen::Seen, helper: HelperState) -> Looked {
    let claims = match seen.claims {
        Answer::Known(claims) => Answer::Known(claims.into_iter().map(|seen| seen.claim).collect()),
        Answer::CannotSee => Answer::CannotSee,
    };
    Looked {
        snapshot: seen.snapshot,
        claims,
        helper,
    }
}
