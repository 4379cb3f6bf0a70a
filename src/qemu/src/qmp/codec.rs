//! The codec: bytes to messages, commands to bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Cause, CommandError, QmpError};
use crate::limits::QMP_LINE_BYTES;

/// Turns what QEMU sends into messages and commands into what is sent to QEMU.
///
/// It does no input or output: give it bytes with [`receive`](Self::receive), then take messages
/// with [`next_message`](Self::next_message) until there is none. Once it has failed it stays so,
/// because the start of the next message is not known then.
///
/// ```
/// use vfioctl_qemu::qmp::{Codec, Message};
/// let mut codec = Codec::new();
/// codec.receive(b"{\"return\": {}, \"id\": 1}\r\n{\"retu");
/// let (message, _len_bytes) = codec.next_message()?.unwrap();
/// assert_eq!(message, Message::Reply { id: Some(1), result: Ok(serde_json::json!({})) });
/// assert!(codec.next_message()?.is_none());
/// # Ok::<(), vfioctl_qemu::qmp::QmpError>(())
/// ```
#[derive(Debug, Default)]
pub struct Codec {
    /// What has come and has not been taken.
    received: Vec<u8>,
    /// How much at the start of `received` has been taken.
    taken: usize,
    /// How much at the start of `received` is known to have no further line end.
    searched: usize,
    /// Number of the last command.
    last_id: u64,
    is_broken: bool,
}

/// What QEMU says.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The first line of a connection.
    Greeting,
    /// The answer to a command.
    Reply {
        /// The command's number. QEMU leaves it out where it could not read the command.
        id: Option<u64>,
        /// What the command returns.
        result: Result<Value, CommandError>,
    },
    /// Something has happened.
    Event(Event),
}

/// Something that has happened in QEMU, as `SHUTDOWN` or `DEVICE_DELETED`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name. Newer QEMUs have more names.
    pub name: String,
    /// What belongs to it; `Null` where nothing does.
    pub data: Value,
    /// When it happened, since 1970, where QEMU knows.
    pub at: Option<Duration>,
}

/// Any line of QMP. What is not named here is ignored.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
    timestamp: Option<Timestamp>,
    #[serde(rename = "return", default, deserialize_with = "some_value")]
    returned: Option<Value>,
    error: Option<ErrorBody>,
    /// Ours are numbers; anything else is not an answer to us.
    id: Option<Value>,
}

/// QEMU gives -1 for both where its clock fails.
#[derive(Deserialize)]
struct Timestamp {
    #[serde(default)]
    seconds: i64,
    #[serde(default)]
    microseconds: i64,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    class: String,
    #[serde(default)]
    desc: String,
}

#[derive(Serialize)]
struct Command<'a> {
    execute: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    arguments: &'a Value,
    id: u64,
}

/// Tells `"return": null`, which is an answer, from no `return`.
fn some_value<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl Codec {
    /// Makes a codec for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the line for a command, and the number that its answer will have. Arguments are an
    /// object, or `Null` for none.
    ///
    /// # Errors
    /// `Protocol`: the arguments cannot be written as JSON.
    pub fn encode(&mut self, command: &str, arguments: &Value) -> Result<(u64, Vec<u8>), QmpError> {
        let id = self.last_id.wrapping_add(1);
        let command = Command {
            execute: command,
            arguments,
            id,
        };
        let mut line = serde_json::to_vec(&command).map_err(Cause::UnfitCommand)?;
        line.push(b'\n');
        self.last_id = id;
        Ok((id, line))
    }

    /// Takes bytes from QEMU. They are kept until their message is taken, so take all messages
    /// before giving more.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.drain(..self.taken);
        self.searched = self.searched.saturating_sub(self.taken);
        self.taken = 0;
        self.received.extend_from_slice(bytes);
    }

    /// Takes the next whole message and the length of its line, if one has come.
    ///
    /// # Errors
    /// `Protocol`: the line is longer than 8 MiB, not JSON, or not a message.
    pub fn next_message(&mut self) -> Result<Option<(Message, usize)>, QmpError> {
        if self.is_broken {
            return Err(Cause::Broken.into());
        }
        let result = self.read_message();
        if result.is_err() {
            *self = Self {
                is_broken: true,
                last_id: self.last_id,
                ..Self::default()
            };
        }
        result
    }

    fn read_message(&mut self) -> Result<Option<(Message, usize)>, QmpError> {
        loop {
            let from = self.searched.max(self.taken);
            let rest = self.received.get(from..).unwrap_or_default();
            let Some(offset) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.received.len();
                let is_long = self.received.len() - self.taken > QMP_LINE_BYTES;
                return if is_long {
                    Err(Cause::LongLine.into())
                } else {
                    Ok(None)
                };
            };
            let end = from + offset;
            let line = self.received.get(self.taken..end).unwrap_or_default();
            let len_bytes = line.len();
            if len_bytes > QMP_LINE_BYTES {
                return Err(Cause::LongLine.into());
            }
            let message = match line.trim_ascii() {
                b"" => None,
                line => Some(parse_line(line)?),
            };
            self.taken = end + 1;
            if let Some(message) = message {
                return Ok(Some((message, len_bytes)));
            }
        }
    }
}

fn parse_line(line: &[u8]) -> Result<Message, QmpError> {
    let line: Line = serde_json::from_slice(line).map_err(Cause::NotJson)?;
    // Only a number can be ours; an answer to someone else's id stays one that nobody awaits.
    let id = line.id.as_ref().map(|id| id.as_u64().unwrap_or(0));
    if let Some(name) = line.event {
        let at = line.timestamp.and_then(|at| at.since_1970());
        Ok(Message::Event(Event {
            name,
            data: line.data,
            at,
        }))
    } else if let Some(ErrorBody { class, desc }) = line.error {
        Ok(Message::Reply {
            id,
            result: Err(CommandError { class, desc }),
        })
    } else if let Some(value) = line.returned {
        Ok(Message::Reply {
            id,
            result: Ok(value),
        })
    } else if line.greeting.is_some() {
        Ok(Message::Greeting)
    } else {
        Err(Cause::NotAMessage.into())
    }
}

impl Timestamp {
    fn since_1970(self) -> Option<Duration> {
        let seconds = u64::try_from(self.seconds).ok()?;
        let microseconds = u64::try_from(self.microseconds).ok()?;
        Duration::from_secs(seconds).checked_add(Duration::from_micros(microseconds))
    }
}

#[cfg(test)]
mod tests;
