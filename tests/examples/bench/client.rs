//! The least that speaks varlink, so that what is measured is the other side.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;

/// The cheapest question.
pub(crate) const GET_VERSION: &str = r#"{"method":"io.vfioctl.Inventory.GetVersion"}"#;
/// The dearest one that changes nothing.
pub(crate) const DESCRIBE: &str = r#"{"method":"io.vfioctl.Inventory.Describe"}"#;

/// A connection to the helper.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(socket: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let buffer = vec![0; 1 << 20];
        Ok(Self { stream, buffer })
    }

    /// Asks and waits for the answer, which must not be an error.
    pub(crate) fn call(&mut self, request: &str) -> Result<()> {
        let text = |error: std::io::Error| format!("the helper does not answer: {error}");
        let mut bytes = request.as_bytes().to_vec();
        bytes.push(0);
        self.stream.write_all(&bytes).map_err(text)?;
        let mut start = Vec::new();
        loop {
            let length = self.stream.read(&mut self.buffer).map_err(text)?;
            let read = self.buffer.get(..length).unwrap_or_default();
            if start.len() < 4096 {
                start.extend_from_slice(read);
            }
            match read.last() {
                None => return Err("the helper hung up".into()),
                Some(0) => break,
                Some(_) => {}
            }
        }
        let answer = String::from_utf8_lossy(&start);
        match answer.starts_with(r#"{"error""#) || answer.contains(r#","error":""#) {
            true => Err(format!("the helper answered {answer}")),
            false => Ok(()),
        }
    }
}

/// Connects, asks, and prints how many microseconds the answer took.
pub(crate) fn main(socket: &str, request: &str) -> Result<()> {
    let start = Instant::now();
    let mut client =
        Client::connect(Path::new(socket)).map_err(|error| format!("{socket}: {error}"))?;
    client.call(request)?;
    let took = start.elapsed().as_micros();
    writeln!(std::io::stdout(), "client {took}").map_err(|error| error.to_string())
}

/// An empty service: answers one question on the socket that systemd passed as its standard input,
/// and ends.
pub(crate) fn answer_once() -> Result<()> {
    let text = |error: std::io::Error| error.to_string();
    let passed = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(text)?;
    let (mut stream, _) = UnixListener::from(passed).accept().map_err(text)?;
    let mut byte = [1];
    while byte != [0] && stream.read(&mut byte).map_err(text)? == 1 {}
    stream.write_all(b"{\"parameters\":{}}\0").map_err(text)
}
