//! A client of QEMU's monitor protocol (docs/interop/qmp-spec.txt in QEMU).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::{Error, Result, Wrap};

/// Longer than anything the lab asks takes, the answer that a state is being saved included.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection to one QEMU.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    pub(crate) fn new(stream: UnixStream) -> Result<Qmp> {
        stream
            .set_read_timeout(Some(LIMIT))
            .wrap("limit the wait for QMP")?;
        let mut qmp = Qmp {
            stream: BufReader::new(stream),
        };
        qmp.read_message()?; // the greeting
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns what it returned. Events in between are dropped.
    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        let attempt = format!("send QMP {command}");
        self.stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())
            .wrap(&attempt)?;
        loop {
            let mut message = self.read_message()?;
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = message.get("error") {
                return Err(Error::new(format!("QMP {command} failed: {error}")));
            }
        }
    }

    fn read_message(&mut self) -> Result<Value> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).wrap("read from QMP")? {
            0 => Err(Error::new("QEMU closed its monitor")),
            _ => serde_json::from_str(&line).wrap("parse QMP"),
        }
    }
}
