//! What a check found, and what the whole table says.

use std::fmt;

use crate::pci::PciAddress;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Good.
    Pass,
    /// Works, with something to know or to lose.
    Warning,
    /// Stands in the way of giving a device to a guest.
    Fail,
    /// Good or not, this process cannot see which. It is neither a pass nor a fail.
    CannotSee,
}

impl State {
    /// A name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warning => "warning",
            Self::Fail => "fail",
            Self::CannotSee => "cannot_see",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CannotSee => "cannot see",
            other => other.name(),
        })
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The function it is about; `None` where it is about the whole machine.
    pub subject: Option<PciAddress>,
    /// How it came out.
    pub state: State,
    /// What was found, in a few words.
    pub found: String,
    /// What to do about it: a command for this distribution, or words where no command can do it.
    pub fix: Option<String>,
}

impl Finding {
    /// Something good.
    pub fn pass(found: impl Into<String>) -> Self {
        Self::new(State::Pass, found)
    }

    /// Something to know.
    pub fn warning(found: impl Into<String>) -> Self {
        Self::new(State::Warning, found)
    }

    /// Something that stands in the way.
    pub fn fail(found: impl Into<String>) -> Self {
        Self::new(State::Fail, found)
    }

    /// Something hidden.
    pub fn cannot_see(found: impl Into<String>) -> Self {
        Self::new(State::CannotSee, found)
    }

    /// The same finding, with what to do about it.
    #[must_use]
    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    /// The same finding, about one function.
    #[must_use]
    pub fn about(self, subject: PciAddress) -> Self {
        Self {
            subject: Some(subject),
            ..self
        }
    }

    fn new(state: State, found: impl Into<String>) -> Self {
        Self {
            subject: None,
            state,
            found: found.into(),
            fix: None,
        }
    }
}

/// One row of the table: a check and one of its findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The check's name for programs; a check of several devices has several rows.
    pub id: &'static str,
    /// The check's name for people, with the device where it is about one.
    pub title: String,
    /// Why it matters.
    pub why: &'static str,
    /// What was found.
    pub finding: Finding,
}

/// What the whole table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing that was seen stands in the way.
    Pass,
    /// At least one check failed.
    Fail,
}

impl Verdict {
    /// A name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Judges a table: one failed row fails it; warnings and what cannot be seen do not.
pub fn verdict<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Verdict {
    let has_failed = rows.into_iter().any(|row| row.finding.state == State::Fail);
    if has_failed {
        Verdict::Fail
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(finding: Finding) -> Row {
        Row {
            id: "x",
            title: "X".into(),
            why: "",
            finding,
        }
    }

    #[test]
    fn only_a_failed_row_fails_the_table() {
        let fair = [
            row(Finding::pass("")),
            row(Finding::warning("")),
            row(Finding::cannot_see("")),
        ];
        assert_eq!(verdict(&fair), Verdict::Pass);
        assert_eq!(
            verdict(&[row(Finding::pass("")), row(Finding::fail(""))]),
            Verdict::Fail
        );
    }

    #[test]
    fn what_cannot_be_seen_is_never_called_a_fail() {
        assert_eq!(State::CannotSee.to_string(), "cannot see");
        assert_eq!(State::CannotSee.name(), "cannot_see");
    }
}
