//! The client: QMP over a connected socket, with a deadline for every call.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::codec::{Codec, Event, Message};
use super::error::{Cause, CommandError, QmpError, QmpErrorKind};
use super::event_queue::EventQueue;
use crate::limits::QMP_READ_BYTES;

/// A connection to the monitor of a QEMU.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    codec: Codec,
    events: EventQueue,
    /// How the connection stopped being one.
    end: Option<End>,
}

/// What QEMU says of its machine (`query-status`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether the processors run.
    pub is_running: bool,
    /// QEMU's word for the state, as `running`, `paused` or `internal-error`: lower-case letters
    /// and dashes.
    pub name: String,
}

/// How a connection stopped being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Failed,
}

/// What has come. Events are in the queue already.
enum Arrival {
    Greeting,
    Reply {
        id: Option<u64>,
        result: Result<Value, CommandError>,
    },
    Event,
}

/// When a call has to be over, and what to say if it is not.
struct Deadline {
    /// `None`: so far away that there is no such instant.
    at: Option<Instant>,
    timeout: Duration,
    waited_for: String,
    has_begun: bool,
}

impl Client {
    /// Longest name of a state. QEMU's own longest is `finish-migrate`.
    const MAX_STATUS_LEN: usize = 64;

    /// Greets QEMU over a socket that the caller has connected to its monitor, after checking who
    /// sits at the other end (`SO_PEERCRED`).
    ///
    /// # Errors
    /// `Ended`: QEMU ended while it started. `TimedOut`: QEMU still starts, or another client
    /// holds the monitor, which takes one at a time. `Protocol` and `Io`.
    pub fn new(stream: UnixStream, timeout: Duration) -> Result<Self, QmpError> {
        // Deadlines are kept by the socket's own timeouts, which need it to block.
        stream.set_nonblocking(false).map_err(|source| Cause::Io {
            attempt: "prepare the connection to",
            source,
        })?;
        let mut client = Self {
            stream,
            codec: Codec::new(),
            events: EventQueue::default(),
            end: None,
        };
        let mut deadline = Deadline::new(timeout, "the connection");
        loop {
            match client.wait_for_arrival(&mut deadline)? {
                Arrival::Greeting => break,
                // Nothing has been asked yet.
                Arrival::Reply { .. } => {
                    return Err(Cause::UnexpectedAnswer {
                        command: "the connection",
                    }
                    .into());
                }
                Arrival::Event => {}
            }
        }
        client.call("qmp_capabilities", &Value::Null, &mut deadline)?;
        Ok(client)
    }

    /// Executes a command and returns what it returns. Arguments are an object, or `Null` for
    /// none. Events that come meanwhile are kept for [`next_event`](Self::next_event).
    ///
    /// # Errors
    /// Any [`QmpErrorKind`]. After `TimedOut` QEMU may still execute the command; its late answer
    /// is dropped.
    pub fn execute(
        &mut self,
        command: &str,
        arguments: Value,
        timeout: Duration,
    ) -> Result<Value, QmpError> {
        self.call(
            command,
            &arguments,
            &mut Deadline::new(timeout, &format!("'{command}'")),
        )
    }

    /// Takes the oldest event, waiting for one if there is none; `None` when the time is over.
    /// With no time at all it still looks once at what has come.
    ///
    /// # Errors
    /// `Ended`, once all events have been taken and QEMU has closed the connection; `Protocol` and
    /// `Io`.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, QmpError> {
        let mut deadline = Deadline::new(timeout, "an event");
        loop {
            if let Some(event) = self.events.pop() {
                return Ok(Some(event));
            }
            match self.wait_for_arrival(&mut deadline) {
                // An event is in the queue now, and nobody waits for an answer.
                Ok(_) => {}
                Err(error) if error.kind() == QmpErrorKind::TimedOut => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// How many events have been dropped because too many came before they were asked for.
    pub fn dropped_events(&self) -> u64 {
        self.events.dropped()
    }

    /// Asks what the machine does (`query-status`).
    ///
    /// # Errors
    /// Any [`QmpErrorKind`].
    pub fn status(&mut self, timeout: Duration) -> Result<Status, QmpError> {
        const COMMAND: &str = "query-status";
        let answer = self.execute(COMMAND, Value::Null, timeout)?;
        let is_running = answer.get("running").and_then(Value::as_bool);
        let name = answer.get("status").and_then(Value::as_str).filter(|name| {
            (1..=Self::MAX_STATUS_LEN).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        });
        match (is_running, name) {
            (Some(is_running), Some(name)) => Ok(Status {
                is_running,
                name: name.to_owned(),
            }),
            _ => Err(Cause::UnexpectedAnswer { command: COMMAND }.into()),
        }
    }

    /// Presses the machine's power button. Whether the guest does anything is up to the guest.
    ///
    /// # Errors
    /// Any [`QmpErrorKind`].
    pub fn system_powerdown(&mut self, timeout: Duration) -> Result<(), QmpError> {
        self.execute("system_powerdown", Value::Null, timeout)
            .map(drop)
    }

    /// Tells QEMU to end. That it closes the connection instead of answering is success.
    ///
    /// When this returns, QEMU may still be releasing its devices: only the end of its process
    /// proves that they are free.
    ///
    /// # Errors
    /// `TimedOut`, `Refused`, `Protocol` and `Io`.
    pub fn quit(&mut self, timeout: Duration) -> Result<(), QmpError> {
        match self.execute("quit", Value::Null, timeout) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == QmpErrorKind::Ended => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn call(
        &mut self,
        command: &str,
        arguments: &Value,
        deadline: &mut Deadline,
    ) -> Result<Value, QmpError> {
        let (sent, line) = self.codec.encode(command, arguments)?;
        self.write_line(&line, deadline)?;
        loop {
            let Arrival::Reply { id, result } = self.wait_for_arrival(deadline)? else {
                continue;
            };
            match result {
                Ok(value) if id == Some(sent) => return Ok(value),
                // Without a number QEMU could not read the command, and this is the only one.
                Err(error) if id.is_none_or(|id| id == sent) => {
                    return Err(Cause::Refused {
                        command: command.to_owned(),
                        error,
                    }
                    .into());
                }
                // The late answer to a command whose time was over.
                _ => {}
            }
        }
    }

    fn wait_for_arrival(&mut self, deadline: &mut Deadline) -> Result<Arrival, QmpError> {
        loop {
            let message = self
                .codec
                .next_message()
                .inspect_err(|_| self.end = Some(End::Failed))?;
            match message {
                Some((Message::Greeting, _)) => return Ok(Arrival::Greeting),
                Some((Message::Reply { id, result }, _)) => {
                    return Ok(Arrival::Reply { id, result });
                }
                Some((Message::Event(event), len_bytes)) => {
                    self.events.push(event, len_bytes);
                    return Ok(Arrival::Event);
                }
                // The deadline is checked at each read, so a QEMU that sends without pause does
                // not keep us here for ever.
                None => self.read_more(deadline.remaining()?)?,
            }
        }
    }

    /// Reads what has come, or waits for at most the given time.
    fn read_more(&mut self, timeout: Duration) -> Result<(), QmpError> {
        const ATTEMPT: &str = "read from";
        self.refuse_after_end()?;
        self.stream
            .set_read_timeout(Some(timeout))
            .map_err(|source| Cause::Io {
                attempt: ATTEMPT,
                source,
            })?;
        let mut buffer = [0; QMP_READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.close(),
            Ok(len) => {
                self.codec.receive(buffer.get(..len).unwrap_or_default());
                Ok(())
            }
            Err(source) if is_pause(&source) => Ok(()),
            Err(source) if is_hang_up(&source) => self.close(),
            Err(source) => self.fail(ATTEMPT, source),
        }
    }

    /// Writes a command. QEMU reads its monitor even when it is busy, but a stopped one does not.
    fn write_line(&mut self, line: &[u8], deadline: &mut Deadline) -> Result<(), QmpError> {
        const ATTEMPT: &str = "write to";
        self.refuse_after_end()?;
        let mut rest = line;
        while !rest.is_empty() {
            let remaining = deadline.remaining().inspect_err(|_| {
                // Half a command has been written; the next one would be taken for its end.
                if rest.len() < line.len() {
                    self.end = Some(End::Failed);
                }
            })?;
            self.stream
                .set_write_timeout(Some(remaining))
                .map_err(|source| Cause::Io {
                    attempt: ATTEMPT,
                    source,
                })?;
            match self.stream.write(rest) {
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(source) if is_pause(&source) => {}
                // What QEMU has said before it hung up can still be read, so this is not the end.
                Err(source) if is_hang_up(&source) => return Err(Cause::Ended.into()),
                Err(source) => return self.fail(ATTEMPT, source),
            }
        }
        Ok(())
    }

    fn refuse_after_end(&self) -> Result<(), QmpError> {
        match self.end {
            None => Ok(()),
            Some(End::Closed) => Err(Cause::Ended.into()),
            Some(End::Failed) => Err(Cause::Broken.into()),
        }
    }

    fn close(&mut self) -> Result<(), QmpError> {
        self.end = Some(End::Closed);
        Err(Cause::Ended.into())
    }

    fn fail(&mut self, attempt: &'static str, source: io::Error) -> Result<(), QmpError> {
        self.end = Some(End::Failed);
        Err(Cause::Io { attempt, source }.into())
    }
}

/// Whether the call may be tried again, if there is time.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Whether the other end is gone. A QEMU that ends with unread commands resets the connection.
fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

impl Deadline {
    /// Shortest wait: a socket takes 0 for "for ever".
    const MIN: Duration = Duration::from_millis(1);
    /// Longest single wait: more does not fit every kernel's clock. Longer ones are done in parts.
    const MAX: Duration = Duration::from_secs(3600);

    fn new(timeout: Duration, waited_for: &str) -> Self {
        let at = Instant::now().checked_add(timeout);
        Self {
            at,
            timeout,
            waited_for: waited_for.to_owned(),
            has_begun: false,
        }
    }

    /// How long to wait now. The first time there is always some, so that a call without time
    /// finds what has already come.
    fn remaining(&mut self) -> Result<Duration, QmpError> {
        let remaining = match self.at {
            Some(at) => at.saturating_duration_since(Instant::now()),
            None => Self::MAX,
        };
        if self.has_begun && remaining.is_zero() {
            let waited_for = self.waited_for.clone();
            return Err(Cause::TimedOut {
                waited_for,
                timeout: self.timeout,
            }
            .into());
        }
        self.has_begun = true;
        Ok(remaining.clamp(Self::MIN, Self::MAX))
    }
}

#[cfg(test)]
mod tests;
