//! The error of this crate: what was tried, on what, why it failed, and what to try.

use std::fmt;
use std::io;

/// What kind of error it is, for callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A file or folder could not be read, written or removed.
    File,
    /// The file is no disk image that may be taken.
    Refused,
    /// There is something of that name already.
    Exists,
    /// There is no image of that name.
    NotFound,
    /// Overlays are made of the image.
    InUse,
    /// Whether overlays are made of the image cannot be seen.
    Hidden,
    /// Somebody else works in the same place at this moment.
    Busy,
    /// What lies in the folder of images cannot be understood.
    Broken,
    /// Programs, or files that come with them, are missing.
    Missing,
    /// A program did not end well, or not in time.
    Program,
    /// It takes root.
    NotRoot,
    /// It takes another machine, or other sources of packages.
    NotHere,
}

/// Why something could not be done.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    hint: Option<String>,
    source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            hint: None,
            source: None,
        }
    }

    pub(crate) fn file(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(ErrorKind::File, what)
        }
    }

    /// The same with what to try; starts with a verb.
    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to try.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
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
