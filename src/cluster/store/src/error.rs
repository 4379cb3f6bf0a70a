//! Why a store did not do what it was asked.

use std::error::Error as StdError;
use std::fmt;

/// Why a store did not do what it was asked.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What came of it.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of error, for callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It does not answer, or could not write: nothing was done, and a later try may help.
    Unavailable,
    /// The answer was lost: whether it was done is not known.
    Unknown,
    /// The changes after that revision are no longer known, or not those that were seen: list anew.
    Compacted,
    /// Whoever watches does not read as fast as there are changes: watch anew from what was seen.
    Slow,
    /// The lease has ended.
    LeaseGone,
    /// More than a store takes at once.
    TooLarge,
    /// What it holds is not what was put there.
    Damaged,
    /// It cannot be opened: somebody else has it, or may not.
    Refused,
}

impl Error {
    /// An error.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    /// The same with its cause.
    #[must_use]
    pub fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..self
        }
    }

    /// What kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
