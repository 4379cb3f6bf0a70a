//! `vfioctl bind`, `release` and `recover` for people.

use std::fmt::Write as _;

use super::utc;
use crate::output::Answered;
use crate::record::{BindRecord, ClaimRecord, RecoverRecord, ReleaseRecord, StepRecord};
use crate::width::plain;

impl Answered for BindRecord {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if self.planned {
            let groups: Vec<String> = self.groups.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "binding {} takes", self.address);
            text.push_str(&lines(&self.members));
            if !groups.is_empty() {
                let _ = writeln!(text, "of {}", counted("group", &groups));
            }
            text.push_str(&steps_text(&self.steps));
            if self.pinned {
                text.push_str("and pins them, to be yours after a restart too\n");
            }
            text.push_str("nothing was changed\n");
        } else if let Some(claim) = &self.claim {
            let already = if self.already {
                "already yours"
            } else {
                "yours"
            };
            let _ = writeln!(text, "{already}: {}", claim_text(claim));
            if self.pinned {
                text.push_str("pinned: yours after a restart too, until you release it\n");
            }
        }
        text
    }
}

impl Answered for ReleaseRecord {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.planned {
            if !self.members.is_empty() {
                let _ = writeln!(text, "releasing {} gives back", self.address);
                text.push_str(&lines(&self.members));
                text.push_str(&steps_text(&self.steps));
            }
            if !self.unpinned.is_empty() {
                let _ = writeln!(text, "no longer pinned: {}", self.unpinned.join(", "));
            }
            text.push_str("nothing was changed\n");
        } else if !self.members.is_empty() {
            let _ = writeln!(text, "released: {}", self.members.join(", "));
        }
        if !self.planned && !self.unpinned.is_empty() {
            let _ = writeln!(text, "no longer pinned: {}", self.unpinned.join(", "));
        }
        for leftover in &self.leftovers {
            let _ = writeln!(text, "left: {}", plain(leftover));
        }
        text
    }
}

impl Answered for RecoverRecord {
    fn text(&self) -> String {
        if self.recovered.is_empty() {
            return "nothing left behind\n".to_owned();
        }
        let mut text = String::new();
        for each in &self.recovered {
            let _ = writeln!(
                text,
                "{}: {}",
                plain(&each.owner.text()),
                plain(&each.found)
            );
            let _ = writeln!(text, "  devices: {}", each.addresses.join(", "));
            let word = if self.planned { "would" } else { "done" };
            for step in &each.steps {
                let _ = writeln!(text, "  {word}: {}", plain(&step.text));
            }
            for leftover in &each.leftovers {
                let _ = writeln!(text, "  left: {}", plain(leftover));
            }
            text.push_str(match (self.planned, each.pinned, each.home) {
                (true, _, _) => "",
                (false, false, true) => "  home\n",
                (false, false, false) => "  not everything is home\n",
                (false, true, true) => "  on vfio-pci\n",
                (false, true, false) => "  not bound\n",
            });
        }
        if self.planned {
            text.push_str("nothing was changed\n");
        }
        text
    }
}

fn claim_text(claim: &ClaimRecord) -> String {
    let since = i64::try_from(claim.since).unwrap_or(i64::MAX);
    format!("{}, since {}", claim.addresses.join(", "), utc(since))
}

fn steps_text(steps: &[StepRecord]) -> String {
    if steps.is_empty() {
        return "no steps: everything is as it shall be\n".to_owned();
    }
    let mut text = "by these steps\n".to_owned();
    for (index, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "  {}. {}", index + 1, plain(&step.text));
    }
    text
}

fn lines(texts: &[String]) -> String {
    texts
        .iter()
        .map(|text| format!("  {}\n", plain(text)))
        .collect()
}

fn counted(noun: &str, things: &[String]) -> String {
    let plural = if things.len() == 1 { "" } else { "s" };
    format!("{noun}{plural} {}", things.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;
    use crate::record::{OwnerRecord, RecoveredRecord, StepVerb};

    fn step() -> StepRecord {
        StepRecord {
            verb: StepVerb::Unbind,
            address: "0000:01:00.0".into(),
            driver: Some("nvidia".into()),
            text: "unbind 0000:01:00.0 from nvidia".into(),
        }
    }

    fn owner() -> OwnerRecord {
        OwnerRecord {
            container: None,
            uid: 1000,
            user: Some("ann".into()),
            machine: Some("win".into()),
        }
    }

    fn bind(planned: bool, already: bool) -> BindRecord {
        let claim = ClaimRecord {
            owner: owner(),
            addresses: vec!["0000:01:00.0".into(), "0000:01:00.1".into()],
            since: 0,
        };
        BindRecord {
            address: "0000:01:00.0".into(),
            planned,
            already,
            members: claim.addresses.clone(),
            groups: vec![12],
            steps: vec![step()],
            pinned: false,
            claim: Some(claim).filter(|_| !planned),
        }
    }

    #[test]
    fn a_plan_to_bind_says_that_nothing_was_changed() {
        assert_eq!(
            bind(true, false).text(),
            "binding 0000:01:00.0 takes\n  0000:01:00.0\n  0000:01:00.1\nof group 12\n\
             by these steps\n  1. unbind 0000:01:00.0 from nvidia\nnothing was changed\n"
        );
        assert_answer("bind", &bind(true, false));
    }

    #[test]
    fn a_bind_ends_with_the_claim() {
        let text = "yours: 0000:01:00.0, 0000:01:00.1, since 1970-01-01 00:00:00 UTC\n";
        assert_eq!(bind(false, false).text(), text);
        assert_eq!(bind(false, true).text(), format!("already {text}"));
        assert_answer("bind", &bind(false, true));
    }

    #[test]
    fn a_release_tells_what_it_could_not_bring_back() {
        let mut release = ReleaseRecord {
            address: "0000:01:00.0".into(),
            planned: false,
            members: vec!["0000:01:00.0".into()],
            steps: vec![step()],
            leftovers: vec!["0000:01:00.1 is no longer there".into()],
            unpinned: Vec::new(),
        };
        assert_eq!(
            release.text(),
            "released: 0000:01:00.0\nleft: 0000:01:00.1 is no longer there\n"
        );
        assert_answer("release", &release);
        release.planned = true;
        release.leftovers.clear();
        assert_eq!(
            release.text(),
            "releasing 0000:01:00.0 gives back\n  0000:01:00.0\nby these steps\n  \
             1. unbind 0000:01:00.0 from nvidia\nnothing was changed\n"
        );
    }

    #[test]
    fn what_is_pinned_and_no_longer_is_told() {
        let mut bind = bind(false, false);
        bind.pinned = true;
        let text = "yours: 0000:01:00.0, 0000:01:00.1, since 1970-01-01 00:00:00 UTC\n\
                    pinned: yours after a restart too, until you release it\n";
        assert_eq!(bind.text(), text);
        let release = ReleaseRecord {
            address: "0000:01:00.0".into(),
            planned: false,
            members: Vec::new(),
            steps: Vec::new(),
            leftovers: Vec::new(),
            unpinned: vec!["0000:01:00.0".into()],
        };
        assert_eq!(release.text(), "no longer pinned: 0000:01:00.0\n");
        assert_answer("release", &release);
    }

    #[test]
    fn recovery_tells_what_was_found_done_and_left() {
        let mut record = RecoverRecord {
            planned: false,
            recovered: Vec::new(),
        };
        assert_eq!(record.text(), "nothing left behind\n");
        assert_answer("recover", &record);
        record.recovered.push(RecoveredRecord {
            owner: owner(),
            found: "a machine that no longer runs".into(),
            addresses: vec!["0000:01:00.0".into()],
            steps: vec![step()],
            leftovers: vec!["0000:01:00.1 is no longer there".into()],
            home: false,
            pinned: false,
        });
        assert_eq!(
            record.text(),
            "machine 'win' of ann: a machine that no longer runs\n  devices: 0000:01:00.0\n  \
             done: unbind 0000:01:00.0 from nvidia\n  left: 0000:01:00.1 is no longer there\n  \
             not everything is home\n"
        );
        assert_answer("recover", &record);
    }
}
