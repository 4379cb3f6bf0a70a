//! The caller's side: one connection to the helper, every wait with a limit.
//!
//! Framing: <https://varlink.org/Method-Call>: JSON objects, each ended by a NUL byte.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Longest reply: the description of a machine with the 65,536 functions of a full domain is
/// about 60 MB; anything longer is not from our helper.
const MAX_REPLY_BYTES: usize = 128 << 20;

/// A connection to the helper.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    received: Vec<u8>,
}

/// Why a call has no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// Nothing listens on the socket.
    NotRunning(PathBuf),
    /// The socket is there, but this user may not use it.
    NotPermitted(PathBuf),
    /// The connection broke.
    Broken(io::Error),
    /// No answer came in time.
    TimedOut(Duration),
    /// The answer is not one.
    Malformed(String),
    /// The helper answered with an error.
    Remote(RemoteError),
}

/// An error that the helper answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteError {
    /// Its full name: `io.vfioctl.Device.Refused`.
    pub name: String,
    /// What it carries.
    pub parameters: Value,
}

impl RemoteError {
    /// A text field of the error.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.parameters.get(field).and_then(Value::as_str)
    }

    /// The reason of a refusal, for programs.
    pub fn reason(&self) -> Option<&str> {
        self.text("reason")
    }

    /// What the helper says, and what it advises; the error's name where it says nothing, as a sentence.
    pub fn sentence(&self) -> String {
        let said = (self.text("message"), self.text("hint"));
        match said {
            (Some(message), Some(hint)) if !hint.is_empty() => format!("{message}; {hint}"),
            (Some(message), _) => message.to_owned(),
            (None, _) => format!("the helper answered '{}'", self.name),
        }
    }
}

impl Client {
    /// Connects to the helper's socket.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], [`ClientError::NotPermitted`], [`ClientError::Broken`].
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Self {
                stream,
                received: Vec::new(),
            }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(socket.to_owned())
                }
                io::ErrorKind::PermissionDenied => ClientError::NotPermitted(socket.to_owned()),
                _ => ClientError::Broken(error),
            }),
        }
    }

    /// Calls a method and waits for its one reply.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn call<R: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: impl Serialize,
        timeout: Duration,
    ) -> Result<R, ClientError> {
        self.send(method, &parameters, false)?;
        self.reply(timeout).map(|(reply, _)| reply)
    }

    /// Calls a method that tells its progress. Every reply but the last goes to `progress`.
    /// `timeout` bounds the wait for each single reply.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn call_more<R: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: impl Serialize,
        timeout: Duration,
        mut progress: impl FnMut(R),
    ) -> Result<R, ClientError> {
        self.send(method, &parameters, true)?;
        loop {
            let (reply, continues) = self.reply(timeout)?;
            if !continues {
                return Ok(reply);
            }
            progress(reply);
        }
    }

    fn send(
        &mut self,
        method: &str,
        parameters: &impl Serialize,
        more: bool,
    ) -> Result<(), ClientError> {
        let mut request = json!({ "method": method, "parameters": parameters });
        if let (true, Some(object)) = (more, request.as_object_mut()) {
            object.insert("more".into(), Value::Bool(true));
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(0);
        self.stream.write_all(&bytes).map_err(ClientError::Broken)
    }

    fn reply<R: DeserializeOwned>(&mut self, timeout: Duration) -> Result<(R, bool), ClientError> {
        let frame = self.frame(timeout)?;
        let malformed = |error: serde_json::Error| ClientError::Malformed(error.to_string());
        let mut reply: Value = serde_json::from_slice(&frame).map_err(malformed)?;
        let parameters = reply.get_mut("parameters").map(Value::take);
        let parameters = parameters
            .filter(|value| !value.is_null())
            .unwrap_or_else(|| json!({}));
        if let Some(name) = reply.get("error").and_then(Value::as_str) {
            let name = name.to_owned();
            return Err(ClientError::Remote(RemoteError { name, parameters }));
        }
        let continues = reply
            .get("continues")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        Ok((
            serde_json::from_value(parameters).map_err(malformed)?,
            continues,
        ))
    }

    /// The bytes up to the next NUL.
    fn frame(&mut self, timeout: Duration) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + timeout;
        let mut searched = 0;
        let mut chunk = vec![0; 64 << 10];
        loop {
            let unsearched = self.received.get(searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|byte| *byte == 0) {
                let rest = self.received.split_off(searched + at + 1);
                let mut frame = std::mem::replace(&mut self.received, rest);
                frame.pop();
                return Ok(frame);
            }
            searched = self.received.len();
            if searched > MAX_REPLY_BYTES {
                return Err(ClientError::Malformed("the reply has no end".into()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::TimedOut(timeout));
            }
            self.stream
                .set_read_timeout(Some(left))
                .map_err(ClientError::Broken)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => self.received.extend(chunk.get(..len).unwrap_or_default()),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted => {}
                    _ => return Err(ClientError::Broken(error)),
                },
            }
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(socket) => {
                write!(
                    f,
                    "the helper does not run: nothing listens on '{}'",
                    socket.display()
                )
            }
            Self::NotPermitted(socket) => {
                write!(
                    f,
                    "you may not use the helper's socket '{}'",
                    socket.display()
                )
            }
            Self::Broken(_) => f.write_str("the connection to the helper broke"),
            Self::TimedOut(limit) => {
                write!(
                    f,
                    "the helper has not answered within {} s",
                    limit.as_secs()
                )
            }
            Self::Malformed(what) => write!(f, "the helper's answer is not understood: {what}"),
            Self::Remote(error) => match error.text("message") {
                Some(message) => f.write_str(message),
                None => f.write_str(&error.sentence()),
            },
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(source) => Some(source),
            _ => None,
        }
    }
}
