//! Patience with a host that does not answer just now: it may be started again, and what waits for
//! it need not end for that.

use std::time::{Duration, Instant};

use super::host_error::HostError;
use crate::failure::Failure;
use crate::limits;
use crate::output::Output;

/// Patience with a host. It is as large as at the beginning whenever the host has answered.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Until when an answer is waited for, where there is none now, and the next pause.
    outage: Option<(Instant, Duration)>,
}

impl Patience {
    /// The host has answered.
    pub(crate) fn restore(&mut self) {
        self.outage = None;
    }

    /// Takes a failure that may pass, and returns after a pause; says so once.
    ///
    /// # Errors
    /// The failure, where it will not pass, or has not for too long.
    pub(crate) fn bear(
        &mut self,
        error: HostError,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        if !error.kind.is_passing() {
            return Err(error.into());
        }
        let (end, pause) = match self.outage {
            Some(outage) => outage,
            None => {
                let limit = limits::PATIENCE.as_secs();
                let heading = format!(
                    "no answer just now; going on as soon as there is one, within {limit} s"
                );
                output.say(&Failure::from(error.clone()).hint("").text_under(&heading));
                (Instant::now() + limits::PATIENCE, limits::FIRST_PAUSE)
            }
        };
        if Instant::now() >= end {
            return Err(error.into());
        }
        std::thread::sleep(pause);
        self.outage = Some((end, (pause * 2).min(limits::LONGEST_PAUSE)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::HostErrorKind;

    #[test]
    fn patience_ends() {
        let error = |kind| HostError {
            host: "gpu-host".parse().unwrap(),
            file: None,
            kind: Box::new(kind),
        };
        let (mut answer, mut conversation) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut answer, &mut conversation, false);
        let broken = || error(HostErrorKind::Broken("x".into()));
        let mut patience = Patience::default();
        assert_eq!(patience.bear(broken(), &mut output), Ok(()));
        assert_eq!(patience.bear(broken(), &mut output), Ok(()));
        if let Some((end, _)) = &mut patience.outage {
            *end = Instant::now();
        }
        let ended = patience.bear(broken(), &mut output).unwrap_err();
        assert_eq!(ended.name(), "HostBroken");
        let theirs = None;
        let because = "x".to_owned();
        let odd = error(HostErrorKind::NotUnderstood { because, theirs });
        let ended = Patience::default().bear(odd, &mut output).unwrap_err();
        assert_eq!(ended.name(), "HostNotUnderstood");
        let told = String::from_utf8(conversation).unwrap();
        assert_eq!(told.matches("no answer just now").count(), 1, "{told}");
    }
}
