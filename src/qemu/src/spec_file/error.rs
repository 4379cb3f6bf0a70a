//! What can be wrong with a specification file.

use std::fmt;
use std::ops::Range;

use vfioctl_core::claim::InvalidMachineName;
use vfioctl_core::machine::{InvalidForward, SpecError};
use vfioctl_core::pci::AddressError;

use crate::limits::SPEC_FILE_BYTES;
use crate::memory_size::InvalidMemorySize;

/// A specification file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecFileError {
    line: Option<usize>,
    key: Option<String>,
    cause: Cause,
}

/// What callers can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecFileErrorKind {
    /// The text is not TOML, or has keys or types of values that a specification has not.
    Form,
    /// A value is not one that may stand there.
    Value,
    /// Values contradict each other, or one is missing beside another.
    Combination,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    TooLong,
    /// In the words of the TOML library, which name the keys and values it expects.
    Toml(String),
    Name(InvalidMachineName),
    Memory(InvalidMemorySize),
    Address(AddressError),
    Path,
    Base,
    UefiBesideKernel,
    UefiBesideBios,
    NoUefiTable,
    Forward(InvalidForward),
    ForwardWithoutUser,
    SocketWithoutStream,
    NoSocket,
    Spec(SpecError),
}

impl SpecFileError {
    pub(super) fn new(text: &str, span: Option<Range<usize>>, cause: Cause) -> Self {
        let place = span
            .filter(|span| !span.is_empty())
            .map(|span| Place::find(text, span.start));
        let (line, key) = match place {
            Some(place) => (Some(place.line), place.key),
            None => (None, None),
        };
        Self { line, key, cause }
    }

    pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error
            .message()
            .trim_end()
            .replace('\n', ", ")
            .replace('`', "'");
        let place = error.span().map(|span| Place::find(text, span.start));
        // A missing key is told with the span of its whole table.
        let line = place.as_ref().map(|place| place.line);
        let key = place
            .and_then(|place| place.key)
            .filter(|_| !message.starts_with("missing"));
        Self {
            line,
            key,
            cause: Cause::Toml(message),
        }
    }

    /// What callers can tell apart.
    pub fn kind(&self) -> SpecFileErrorKind {
        match &self.cause {
            Cause::TooLong | Cause::Toml(_) => SpecFileErrorKind::Form,
            Cause::UefiBesideKernel
            | Cause::UefiBesideBios
            | Cause::NoUefiTable
            | Cause::ForwardWithoutUser
            | Cause::SocketWithoutStream
            | Cause::NoSocket
            | Cause::Spec(SpecError::NothingToBoot) => SpecFileErrorKind::Combination,
            _ => SpecFileErrorKind::Value,
        }
    }

    /// The line, counted from 1, where it is about one.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key, where it is about one.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What to try.
    pub fn hint(&self) -> &'static str {
        match &self.cause {
            Cause::TooLong => "check that this is a specification and not a disk image",
            Cause::Toml(_) => "compare the file with the example in the manual",
            Cause::Name(_) => "choose another name",
            Cause::Memory(_) | Cause::Spec(SpecError::Memory(_)) => {
                "give a size as '16GiB' or '512MiB'"
            }
            Cause::Address(_) => "take the address from 'vfioctl list', as '0000:01:00.0'",
            Cause::Path => "write the path in full, or relative to the file's folder",
            Cause::Base => "move the file to a folder whose path is UTF-8",
            Cause::UefiBesideKernel => {
                "leave out either [kernel] or firmware = \"uefi\" and [uefi]"
            }
            Cause::UefiBesideBios => "leave out [uefi] or say firmware = \"uefi\"",
            Cause::NoUefiTable => "add a table [uefi] with code = \"/path/of/OVMF_CODE.fd\"",
            Cause::Forward(_) => "write it as \"2222:22\" or \"0.0.0.0:2222:22\"",
            Cause::ForwardWithoutUser => "say network = \"user\", or leave out the forwards",
            Cause::SocketWithoutStream => "say network = \"stream\", or leave out the socket",
            Cause::NoSocket => {
                "add socket = \"/path/of/the.sock\", where the network process listens"
            }
            Cause::Spec(SpecError::Socket(_)) => "move the socket to a folder with a shorter path",
            Cause::Spec(SpecError::SameForward(_)) => "forward each port once",
            Cause::Spec(SpecError::NothingToBoot) => "add a table [[disks]] or [kernel]",
            Cause::Spec(SpecError::SameDevice(_)) => "name each device once",
            Cause::Spec(_) => "change the value",
        }
    }
}

impl fmt::Display for SpecFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "'{key}': ")?;
        }
        match &self.cause {
            Cause::TooLong => write!(f, "the file is longer than {SPEC_FILE_BYTES} bytes"),
            Cause::Toml(message) => f.write_str(message),
            Cause::Name(error) => error.fmt(f),
            Cause::Memory(error) => error.fmt(f),
            Cause::Address(error) => error.fmt(f),
            Cause::Path => f.write_str(
                "a path is absolute or relative to the file's folder; '~' is not replaced here",
            ),
            Cause::Base => f.write_str("the path of the file's folder is not UTF-8"),
            Cause::UefiBesideKernel => {
                f.write_str("a machine starts from a kernel or from UEFI, not from both")
            }
            Cause::UefiBesideBios => f.write_str("[uefi] stands beside firmware = \"bios\""),
            Cause::NoUefiTable => f.write_str("there is no table [uefi] that names the firmware"),
            Cause::Forward(error) => error.fmt(f),
            Cause::ForwardWithoutUser => f.write_str("only the network \"user\" has forwards"),
            Cause::SocketWithoutStream => f.write_str("only the network \"stream\" has a socket"),
            Cause::NoSocket => f.write_str("the network \"stream\" needs a socket"),
            Cause::Spec(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SpecFileError {}

/// A place in a text: its line, and the key that the line begins with.
struct Place {
    line: usize,
    key: Option<String>,
}

impl Place {
    fn find(text: &str, offset: usize) -> Self {
        // Spans are of this text; were one not, its end would be told.
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = text.get(begin..).unwrap_or_default();
        let key = rest.lines().next().and_then(find_key);
        // In a list over several lines the key stands further up.
        let key = key.or_else(|| before.lines().rev().find_map(find_key));
        Self { line, key }
    }
}

/// The key or table that a line begins with, if it begins with one.
fn find_key(line: &str) -> Option<String> {
    let line = line.trim();
    let is_key = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    if let Some(table) = line.strip_prefix('[') {
        let table = table.trim_start_matches('[').split(']').next()?.trim();
        return is_key(table).then(|| format!("[{table}]"));
    }
    let (key, _) = line.split_once('=')?;
    let key = key.trim().trim_matches(['"', '\'']);
    is_key(key).then(|| key.to_owned())
}
