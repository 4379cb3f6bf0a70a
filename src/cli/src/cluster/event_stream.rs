//! Events of a task, as server-sent events (HTML Living Standard, section 9.2): lines, each a field,
//! and an empty line behind each event.

use std::io::{BufRead as _, BufReader, Read as _};

use ureq::http::Response;
use ureq::{Body, BodyReader};
use vfioctl_api::{Change, Task};

use super::connection::Connection;
use super::host_error::HostError;
use crate::limits;

/// Events of a task, as they come.
pub(crate) struct EventStream<'c> {
    connection: &'c Connection,
    lines: BufReader<BodyReader<'static>>,
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    /// The task is this now.
    Changed(Box<Task>),
    /// The task is no longer known.
    Removed,
    /// Some were missed; the task has to be looked at anew.
    Missed,
    /// Nothing; only that the host is there.
    Beat,
}

impl<'c> EventStream<'c> {
    pub(super) fn new(connection: &'c Connection, response: Response<Body>) -> Self {
        Self {
            connection,
            lines: BufReader::new(response.into_body().into_reader()),
        }
    }

    /// The next event; none: the host has ended the stream.
    ///
    /// # Errors
    /// Where the connection breaks, is silent for too long, or what comes is not understood.
    pub(crate) fn next(&mut self) -> Result<Option<TaskEvent>, HostError> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let Some(line) = self.line()? else {
                return Ok(None);
            };
            match line.split_once(':').unwrap_or((&line, "")) {
                ("", "") if line.is_empty() => {
                    // Events that this command does not know are not for it.
                    if let Some(event) = self.event(&name, &data)? {
                        return Ok(Some(event));
                    }
                    name.clear();
                    data.clear();
                }
                ("event", value) => name = value.trim_start().to_owned(),
                ("data", value) => {
                    data.push_str(value.strip_prefix(' ').unwrap_or(value));
                    if data.len() > limits::EVENT_BYTES {
                        return Err(self.too_long());
                    }
                }
                // A comment, between events.
                ("", _) if name.is_empty() => return Ok(Some(TaskEvent::Beat)),
                // Fields for browsers.
                _ => {}
            }
        }
    }

    fn line(&mut self) -> Result<Option<String>, HostError> {
        let limit = u64::try_from(limits::EVENT_BYTES).unwrap_or(u64::MAX);
        let mut line = Vec::new();
        let read = (&mut self.lines).take(limit).read_until(b'\n', &mut line);
        read.map_err(|error| self.connection.error_of_read(error))?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(
                String::from_utf8_lossy(&line)
                    .trim_end_matches('\r')
                    .to_owned(),
            )),
            Some(_) if line.len() + 1 >= limits::EVENT_BYTES => Err(self.too_long()),
            // The end of the stream in the middle of a line.
            Some(_) => Ok(None),
        }
    }

    fn event(&self, name: &str, data: &str) -> Result<Option<TaskEvent>, HostError> {
        match name {
            "task" => match serde_json::from_str::<Change>(data) {
                Ok(change) => Ok(Some(TaskEvent::Changed(Box::new(change.task)))),
                Err(error) => Err(self
                    .connection
                    .not_understood(format!("an event about a task is another one: {error}"))),
            },
            "removed" => Ok(Some(TaskEvent::Removed)),
            "missed" => Ok(Some(TaskEvent::Missed)),
            _ => Ok(None),
        }
    }

    fn too_long(&self) -> HostError {
        let because = format!("an event is longer than {} bytes", limits::EVENT_BYTES);
        self.connection.not_understood(because)
    }
}
