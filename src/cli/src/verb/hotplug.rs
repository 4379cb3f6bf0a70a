//! `vfioctl hotplug`: tells the helper that a device came or went, for udev.

use vfioctl_protocol::{ClientError, NoHelper};

use crate::Done;
use crate::session::Session;
use crate::verdict::Verdict;

/// Tells the helper. Where none can be called yet, or no more, nothing is lost: it looks for
/// itself when it starts.
pub(super) fn run(session: &Session<'_>) -> Done {
    let mut helper = match session.try_helper() {
        Ok(helper) => helper,
        Err(NoHelper::Unanswered(ClientError::NotRunning(_))) => return Ok(Verdict::Yes),
        // Once more, for its words.
        Err(_) => session.helper()?,
    };
    let told = helper.notice();
    told.map_err(|error| session.failure(&error))?;
    Ok(Verdict::Yes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake_helper::{last, run};

    #[test]
    fn the_helper_is_told_and_nothing_is_answered() {
        let level = vfioctl_protocol::LEVEL;
        let outcome = run(level, &["hotplug"], vec![last(json!({}))]);
        assert_eq!(
            (outcome.verdict, outcome.answer.as_str()),
            (Verdict::Yes, "")
        );
        assert_eq!(
            outcome.asked,
            [("io.vfioctl.Device.Notice".to_owned(), json!({}))]
        );
    }

    #[test]
    fn no_helper_is_no_noise() {
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let words = ["vfioctl", "--socket", "/nowhere/helper.sock", "hotplug"];
        let verdict = crate::run(
            words.map(Into::into).to_vec(),
            &mut answer,
            &mut conversation,
        );
        assert_eq!((verdict, conversation.len()), (Verdict::Yes, 0));
    }
}
