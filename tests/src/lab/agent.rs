//! The harness's end of the command channel; `tests/lab/agent/agent.c` is the other and describes
//! what is spoken.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{Error, Result, Wrap};

/// How much longer than a script's own limit to wait for the agent, which enforces that limit.
/// Generous, because the machine may share its processors with other machines.
const GRACE: Duration = Duration::from_secs(20);

/// What the agent answers when a script has used up its time.
const STATUS_TIMED_OUT: i32 = 124;

/// What a script did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Output {
    /// Exit status as a shell shows it; 128 + n after signal n.
    pub rc: i32,
    /// Standard output and standard error in the order they were written.
    pub text: String,
}

impl Output {
    /// Tells whether the script was ended because its time was over.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        self.rc == STATUS_TIMED_OUT
    }

    /// Passes on the text of a script that succeeded.
    ///
    /// # Errors
    ///
    /// With the text, when the script failed.
    pub fn success(self) -> Result<String> {
        match self.rc {
            0 => Ok(self.text),
            rc => Err(Error::new(format!(
                "script failed with {rc}:\n{}",
                self.text
            ))),
        }
    }
}

type Waiting = Arc<Mutex<HashMap<u64, Sender<Output>>>>;

/// A connection to the agent. Scripts of several threads run side by side.
#[derive(Debug)]
pub(crate) struct Agent {
    port: Mutex<(UnixStream, u64)>,
    waiting: Waiting,
}

impl Agent {
    pub(crate) fn new(stream: UnixStream) -> Result<Agent> {
        let reader = stream.try_clone().wrap("duplicate the agent's socket")?;
        let waiting = Waiting::default();
        let answers = Arc::clone(&waiting);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            while let Ok((id, output)) = read_answer(&mut reader) {
                if let Some(waiter) = lock(&answers).remove(&id) {
                    let _ = waiter.send(output);
                }
            }
            // Whoever still waits learns that nothing will come.
            lock(&answers).clear();
        });
        Ok(Agent {
            port: Mutex::new((stream, 0)),
            waiting,
        })
    }

    pub(crate) fn run(&self, script: &str, input: &[u8], limit: Duration) -> Result<Output> {
        let (sender, receiver) = channel();
        let id = {
            let mut port = lock(&self.port);
            port.1 += 1;
            let id = port.1;
            lock(&self.waiting).insert(id, sender);
            let limit_ms = limit.as_millis();
            let head = format!("run {id} {limit_ms} {} {}\n", script.len(), input.len());
            let message = [head.as_bytes(), script.as_bytes(), input].concat();
            port.0
                .write_all(&message)
                .wrap("send a script to the lab")?;
            id
        };
        receiver.recv_timeout(limit + GRACE).map_err(|error| {
            lock(&self.waiting).remove(&id);
            Error::new(match error {
                RecvTimeoutError::Timeout => "the lab does not answer",
                RecvTimeoutError::Disconnected => "the lab has ended",
            })
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ends the reading thread.
        let _ = lock(&self.port).0.shutdown(std::net::Shutdown::Both);
    }
}

fn read_answer(reader: &mut impl BufRead) -> Result<(u64, Output)> {
    let mut line = String::new();
    reader.read_line(&mut line).wrap("read from the lab")?;
    let numbers: Vec<i64> = line.split_whitespace().flat_map(str::parse).collect();
    let &[id, rc, length] = numbers.as_slice() else {
        return Err(Error::new(format!(
            "the lab answered '{}'",
            line.trim_end()
        )));
    };
    let mut text = Vec::new();
    let length = u64::try_from(length).wrap("parse the length of an answer")?;
    reader
        .take(length)
        .read_to_end(&mut text)
        .wrap("read from the lab")?;
    let output = Output {
        rc: i32::try_from(rc).wrap("parse an exit status")?,
        text: String::from_utf8_lossy(&text).into_owned(),
    };
    Ok((
        u64::try_from(id).wrap("parse the number of an answer")?,
        output,
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
