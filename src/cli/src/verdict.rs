//! The verdict: what the exit status says.

use std::process::ExitCode;

/// The verdict of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Yes, or done: status 0.
    Yes,
    /// A clear no: status 1.
    No,
    /// It could not be done, or not be found out: status 2.
    CouldNot,
}

impl Verdict {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::CouldNot => 2,
        }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(verdict.status())
    }
}
