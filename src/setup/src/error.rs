//! The error of this crate: what was tried, on what, and why it failed.

use std::fmt;
use std::io;

/// What kind of error it is, for callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A file or folder could not be read, written or removed.
    File,
    /// A file is no longer what the plan saw.
    Changed,
    /// Another run of the same works at this moment.
    Busy,
    /// The record of what was done before cannot be understood.
    Record,
    /// A program that had to run did not, or ended with an error.
    Program,
}

/// Why something could not be done.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    pub(crate) fn file(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            kind: ErrorKind::File,
            what: what.into(),
            source: Some(source.into()),
        }
    }

    pub(crate) fn program(what: impl Into<String>, source: Option<io::Error>) -> Self {
        Self {
            kind: ErrorKind::Program,
            what: what.into(),
            source,
        }
    }

    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.source.as_ref()?;
        Some(source)
    }
}
