//! What can go wrong between a client and QEMU's monitor.

use std::time::Duration;
use std::{fmt, io};

use crate::limits::{QMP_LINE_BYTES, QMP_SHOWN_CHARS};

/// A call to QEMU's monitor failed.
#[derive(Debug)]
pub struct QmpError(Cause);

/// What callers can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QmpErrorKind {
    /// QEMU has closed the connection, as it does when it ends.
    Ended,
    /// QEMU has not answered in time. The connection can still be used.
    TimedOut,
    /// QEMU has refused the command. The connection can still be used.
    Refused,
    /// What came is not QMP. The connection cannot be used any more.
    Protocol,
    /// The socket failed. The connection cannot be used any more.
    Io,
}

/// QEMU's own words for a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// The class, as `GenericError` or `CommandNotFound`.
    pub class: String,
    /// A sentence for people.
    pub desc: String,
}

#[derive(Debug)]
pub(super) enum Cause {
    Ended,
    TimedOut {
        waited_for: String,
        timeout: Duration,
    },
    Refused {
        command: String,
        error: CommandError,
    },
    NotJson(serde_json::Error),
    NotAMessage,
    LongLine,
    UnexpectedAnswer {
        command: &'static str,
    },
    UnfitCommand(serde_json::Error),
    Broken,
    Io {
        attempt: &'static str,
        source: io::Error,
    },
}

impl QmpError {
    /// What callers can tell apart.
    pub fn kind(&self) -> QmpErrorKind {
        match &self.0 {
            Cause::Ended => QmpErrorKind::Ended,
            Cause::TimedOut { .. } => QmpErrorKind::TimedOut,
            Cause::Refused { .. } => QmpErrorKind::Refused,
            Cause::NotJson(_)
            | Cause::NotAMessage
            | Cause::LongLine
            | Cause::UnexpectedAnswer { .. }
            | Cause::UnfitCommand(_)
            | Cause::Broken => QmpErrorKind::Protocol,
            Cause::Io { .. } => QmpErrorKind::Io,
        }
    }

    /// QEMU's own words, where it has refused the command.
    pub fn command_error(&self) -> Option<&CommandError> {
        match &self.0 {
            Cause::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self.kind() {
            QmpErrorKind::Ended => "look for QEMU's last words in the machine's log",
            QmpErrorKind::TimedOut => {
                "wait and try again; QEMU is busy, or another client holds its monitor"
            }
            QmpErrorKind::Refused => "check the state of the machine, then try again",
            QmpErrorKind::Protocol => {
                "stop the machine; what answers on its monitor does not behave like QEMU"
            }
            QmpErrorKind::Io => "check that the machine's QEMU still runs",
        }
    }
}

impl From<Cause> for QmpError {
    fn from(cause: Cause) -> Self {
        Self(cause)
    }
}

impl fmt::Display for QmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Ended => f.write_str("QEMU has closed its monitor"),
            Cause::TimedOut {
                waited_for,
                timeout,
            } => {
                write!(
                    f,
                    "QEMU has not answered {waited_for} within {} s",
                    timeout.as_secs_f32()
                )
            }
            Cause::Refused { command, error } => write!(f, "QEMU refuses '{command}': {error}"),
            Cause::NotJson(_) => f.write_str("read a line from QEMU's monitor"),
            Cause::NotAMessage => {
                f.write_str("a line from QEMU's monitor is neither an answer nor an event")
            }
            Cause::LongLine => {
                write!(
                    f,
                    "a line from QEMU's monitor is longer than {QMP_LINE_BYTES} bytes"
                )
            }
            Cause::UnexpectedAnswer { command } => {
                write!(f, "QEMU's answer to '{command}' has not the form it should")
            }
            Cause::UnfitCommand(_) => f.write_str("write a command for QEMU as JSON"),
            Cause::Broken => f.write_str("the connection to QEMU's monitor has failed before"),
            Cause::Io { attempt, .. } => write!(f, "{attempt} QEMU's monitor"),
        }
    }
}

impl std::error::Error for QmpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Cause::NotJson(source) | Cause::UnfitCommand(source) => Some(source),
            Cause::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for CommandError {
    /// Escapes and shortens: the text may come from a QEMU that its guest has taken over, and goes
    /// to an admin's terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, end) in [(&self.class, ": "), (&self.desc, "")] {
            for char in text.chars().take(QMP_SHOWN_CHARS) {
                match char {
                    '\'' | '"' => write!(f, "{char}")?,
                    _ => write!(f, "{}", char.escape_debug())?,
                }
            }
            f.write_str(end)?;
        }
        Ok(())
    }
}

impl std::error::Error for CommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_qemu_reach_a_terminal_escaped_and_short() {
        let error = CommandError {
            class: "Generic\u{1b}[2J".into(),
            desc: format!("a 'b'\n{}", "x".repeat(9999)),
        };
        let shown = format!(
            "Generic\\u{{1b}}[2J: a 'b'\\n{}",
            "x".repeat(QMP_SHOWN_CHARS - 6)
        );
        assert_eq!(error.to_string(), shown);
    }
}
