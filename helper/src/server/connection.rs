//! One connection: frames in, replies out, each with a limit.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use varlink::ConnectionHandler as _;
use vfioctl_protocol::shape::find_unknown_parameter;

use crate::audit;
use crate::helper::Helper;
use crate::limits::{
    MAX_REQUEST_BYTES, MAX_REQUESTS_A_CONNECTION, REPLY_TIME, REQUEST_TIME, SILENCE,
};
use crate::method;
use crate::peer::Peer;

/// Answers one caller until it leaves, breaks a rule or says nothing for too long.
pub(super) fn serve(stream: &UnixStream, peer: &Peer, helper: &Arc<Helper>) {
    if let Err(error) = try_serve(stream, peer, helper) {
        // A caller that hangs up early is its own business; everything else is said once.
        let is_hang_up = matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
        );
        if !is_hang_up {
            audit::warning(&format!("connection of uid {} ended: {error}", peer.uid));
        }
    }
}

fn try_serve(stream: &UnixStream, peer: &Peer, helper: &Arc<Helper>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(REPLY_TIME))?;
    let service = method::service(helper, peer);
    let mut frames = Frames {
        stream,
        received: Vec::new(),
    };
    for _ in 0..MAX_REQUESTS_A_CONNECTION {
        let Some(frame) = frames.next()? else {
            return Ok(());
        };
        let mut stream = stream;
        match judge(&frame) {
            Judgement::Answer(reply) => {
                let mut bytes = reply.to_string().into_bytes();
                bytes.push(0);
                stream.write_all(&bytes)?;
            }
            Judgement::Drop => {}
            Judgement::Pass { oneway } => {
                // The crate answers one-way calls too, and the caller would take that for the
                // answer to its next call.
                let mut sink = io::sink();
                let writer: &mut dyn io::Write = if oneway { &mut sink } else { &mut stream };
                let handled = service.handle(&mut frame.as_slice(), writer, None);
                handled.map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                })?;
            }
        }
    }
    Err(io::Error::other("too many requests on one connection"))
}

/// What is done with a frame.
enum Judgement {
    /// It is answered here.
    Answer(Value),
    /// It goes to the interfaces.
    Pass { oneway: bool },
    /// Nothing is done, and nothing said.
    Drop,
}

fn judge(frame: &[u8]) -> Judgement {
    let text = frame.strip_suffix(&[0]).unwrap_or(frame);
    let Ok(request) = serde_json::from_slice::<Value>(text) else {
        return Judgement::Answer(invalid("the request is not JSON"));
    };
    let flag = |name: &str| request.get(name).and_then(Value::as_bool).unwrap_or(false);
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return Judgement::Answer(invalid("method"));
    };
    let oneway = flag("oneway");
    let none = Value::Null;
    let parameters = request.get("parameters").unwrap_or(&none);
    let refused = if flag("upgrade") {
        Some("upgrade".to_owned())
    } else {
        find_unknown_parameter(method, parameters)
    };
    match refused {
        // Refused as silently as it would be answered.
        Some(_) if oneway => Judgement::Drop,
        Some(parameter) => Judgement::Answer(invalid(&parameter)),
        None => Judgement::Pass { oneway },
    }
}

fn invalid(parameter: &str) -> Value {
    json!({
        "error": "org.varlink.service.InvalidParameter",
        "parameters": { "parameter": parameter },
    })
}

/// Reads frames, each ended by a NUL byte.
struct Frames<'a> {
    stream: &'a UnixStream,
    received: Vec<u8>,
}

impl Frames<'_> {
    /// The next frame with its NUL; `None` when the caller has left.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut deadline = Instant::now()
            + if self.received.is_empty() {
                SILENCE
            } else {
                REQUEST_TIME
            };
        let mut searched = 0;
        let mut chunk = [0; 16 << 10];
        loop {
            let unsearched = self.received.get(searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|byte| *byte == 0) {
                let rest = self.received.split_off(searched + at + 1);
                return Ok(Some(std::mem::replace(&mut self.received, rest)));
            }
            searched = self.received.len();
            if searched > MAX_REQUEST_BYTES {
                return Err(io::Error::other("a request is too long"));
            }
            if !self.is_readable_by(deadline)? {
                let what = if searched == 0 {
                    "it said nothing"
                } else {
                    "a request did not end"
                };
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            let len = self.stream.read(&mut chunk)?;
            if len == 0 {
                return Ok(None);
            }
            if self.received.is_empty() {
                deadline = Instant::now() + REQUEST_TIME;
            }
            self.received.extend(chunk.get(..len).unwrap_or_default());
        }
    }

    fn is_readable_by(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Ok(false);
            }
            let left = Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            });
            let mut fds = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
