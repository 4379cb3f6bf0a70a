//! Why something could not be read.

use std::fmt;
use std::io;

/// A file of the kernel's that is there and could not be read, or could not be understood.
#[derive(Debug)]
pub struct ReadError {
    path: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Io(io::Error),
    Form(&'static str),
}

impl ReadError {
    pub(crate) fn io(path: &str, source: impl Into<io::Error>) -> Self {
        Self {
            path: path.to_owned(),
            kind: Kind::Io(source.into()),
        }
    }

    pub(crate) fn form(path: &str, expected: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            kind: Kind::Form(expected),
        }
    }

    /// The file, relative to its root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the file is there and this process may not read it.
    pub fn is_permission_denied(&self) -> bool {
        matches!(&self.kind, Kind::Io(source) if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// The reason, without the path.
    pub fn because(&self) -> String {
        match &self.kind {
            Kind::Io(source) => source.to_string(),
            Kind::Form(expected) => format!("expected {expected}"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read '{}'", self.path)?;
        match &self.kind {
            Kind::Io(_) => Ok(()),
            Kind::Form(expected) => write!(f, ": expected {expected}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Io(source) => Some(source),
            Kind::Form(_) => None,
        }
    }
}
