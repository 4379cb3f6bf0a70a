//! Links: many connections to a host, driven by one thread.
//!
//! What is measured is the host, so this side does as little as can be: one `epoll(7)`, requests that
//! are whole bytes already, and of an answer no more is understood than its status and its length.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::Result;

/// Answers that are taken from the kernel at once.
const EVENTS: usize = 256;
/// Longest that anything may take before the measurement has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer; the largest that is asked for has some KiB.
const MAX_ANSWER: usize = 1 << 20;

/// A request, whole.
pub(super) type Request = Arc<[u8]>;

/// The bytes of a request with a body in JSON.
pub(super) fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> Request {
    let token = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n{token}content-type: application/json\r\n"
    );
    let length = body.len();
    let whole = format!("{head}content-length: {length}\r\n\r\n{body}");
    whole.into_bytes().into()
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// On which link.
    pub(super) link: usize,
    /// The status of HTTP.
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) at: Instant,
}

impl Answer {
    /// The body, where it is what was hoped for.
    pub(super) fn good(&self) -> Result<&[u8]> {
        match self.status {
            200..300 => Ok(&self.body),
            status => Err(format!(
                "the host answered {status}: {}",
                String::from_utf8_lossy(&self.body)
            )),
        }
    }

    /// A text in the body, by its place there; none where there is none.
    pub(super) fn text(&self, place: &str) -> Result<Option<String>> {
        let value = self.json()?;
        let text = value.pointer(place).and_then(serde_json::Value::as_str);
        Ok(text.map(str::to_owned))
    }

    /// The body as JSON, where it is what was hoped for.
    pub(super) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(self.good()?).map_err(|error| error.to_string())
    }
}

struct Link {
    stream: TcpStream,
    tls: ClientConnection,
    received: Vec<u8>,
    /// Whether the kernel took less than there is to send.
    is_blocked: bool,
}

/// Connections to one host. A closed one leaves its place empty.
pub(super) struct Links {
    address: SocketAddr,
    epoll: OwnedFd,
    all: Vec<Option<Link>>,
    ready: VecDeque<Answer>,
}

fn text(what: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

impl Links {
    pub(super) fn new(address: SocketAddr) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|error| text("make an epoll")(error.into()))?;
        Ok(Self {
            address,
            epoll,
            all: Vec::new(),
            ready: VecDeque::new(),
        })
    }

    /// Connects. TLS is agreed on while waiting, and what is asked meanwhile is sent after it.
    pub(super) fn open(&mut self, config: &Arc<ClientConfig>) -> Result<usize> {
        let stream =
            TcpStream::connect_timeout(&self.address, PATIENCE).map_err(text("connect"))?;
        stream.set_nodelay(true).map_err(text("connect"))?;
        stream.set_nonblocking(true).map_err(text("connect"))?;
        let name = ServerName::from(self.address.ip());
        let mut tls = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| format!("begin TLS: {error}"))?;
        // Else a large answer would be left in it.
        tls.set_buffer_limit(None);
        let index = self.all.len();
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)
            .map_err(|error| text("watch a connection")(error.into()))?;
        self.all.push(Some(Link {
            stream,
            tls,
            received: Vec::new(),
            is_blocked: false,
        }));
        self.flush(index)?;
        Ok(index)
    }

    /// Hangs up.
    pub(super) fn close(&mut self, index: usize) {
        if let Some(link) = self.all.get_mut(index) {
            // The kernel forgets to watch what is closed (`epoll(7)`).
            *link = None;
        }
    }

    /// Asks.
    pub(super) fn ask(&mut self, index: usize, request: &[u8]) -> Result<()> {
        let link = self.link(index)?;
        link.tls
            .writer()
            .write_all(request)
            .map_err(text("send a request"))?;
        self.flush(index)
    }

    fn link(&mut self, index: usize) -> Result<&mut Link> {
        let link = self.all.get_mut(index).and_then(Option::as_mut);
        link.ok_or_else(closed)
    }

    fn flush(&mut self, index: usize) -> Result<()> {
        let link = self.all.get_mut(index).and_then(Option::as_mut);
        let link = link.ok_or_else(closed)?;
        let was_blocked = link.is_blocked;
        link.is_blocked = false;
        while link.tls.wants_write() {
            match link.tls.write_tls(&mut link.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    link.is_blocked = true;
                    break;
                }
                Err(error) => return Err(text("send")(error)),
            }
        }
        if link.is_blocked != was_blocked {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, link.is_blocked);
            let stream = &link.stream;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, stream, data, flags)
                .map_err(|error| text("watch a connection")(error.into()))?;
        }
        Ok(())
    }

    /// The next answer, or none within the time.
    pub(super) fn wait(&mut self, time: Duration) -> Result<Option<Answer>> {
        if self.ready.is_empty() {
            self.look(time)?;
        }
        Ok(self.ready.pop_front())
    }

    /// The next answer, which has to come.
    pub(super) fn await_answer(&mut self) -> Result<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(answer) = self.wait(left)? {
                return Ok(answer);
            }
            if left.is_zero() {
                return Err(format!("the host has not answered for {PATIENCE:?}"));
            }
        }
    }

    /// Has each of these ask one request after the other, until there is none for it any more.
    pub(super) fn drive(
        &mut self,
        links: &[usize],
        mut next: impl FnMut(usize, Option<Answer>) -> Result<Option<Request>>,
    ) -> Result<()> {
        let mut busy = 0;
        for link in links {
            if let Some(request) = next(*link, None)? {
                self.ask(*link, &request)?;
                busy += 1;
            }
        }
        while busy > 0 {
            let answer = self.await_answer()?;
            let link = answer.link;
            match next(link, Some(answer))? {
                Some(request) => self.ask(link, &request)?,
                None => busy -= 1,
            }
        }
        Ok(())
    }

    fn look(&mut self, time: Duration) -> Result<()> {
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; EVENTS];
        let time = rustix::event::Timespec::try_from(time).map_err(|error| error.to_string())?;
        let count = match epoll::wait(&self.epoll, &mut events, Some(&time)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(text("wait for answers")(error.into())),
        };
        for event in events.iter().take(count) {
            // A copy: the structure of the kernel is packed.
            let data = event.data;
            let index = usize::try_from(data.u64()).unwrap_or(usize::MAX);
            self.read(index)?;
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let link = self.link(index)?;
        match link.tls.read_tls(&mut link.stream) {
            Ok(0) => return Err("the host hung up".into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(index),
            Err(error) => return Err(text("receive")(error)),
        }
        let state = link.tls.process_new_packets();
        let readable = state
            .map_err(|error| format!("TLS failed: {error}"))?
            .plaintext_bytes_to_read();
        let before = link.received.len();
        link.received.resize(before + readable, 0);
        if let Some(room) = link.received.get_mut(before..) {
            link.tls
                .reader()
                .read_exact(room)
                .map_err(text("receive"))?;
        }
        let at = Instant::now();
        let mut answers = Vec::new();
        while let Some((status, body, whole)) = split(&link.received)? {
            answers.push(Answer {
                link: index,
                status,
                body: body.to_vec(),
                at,
            });
            link.received.drain(..whole);
        }
        self.ready.extend(answers);
        self.flush(index)
    }
}

fn closed() -> String {
    "the connection was closed".to_owned()
}

/// The first answer in what was received, with its length; none where it is not whole yet.
fn split(received: &[u8]) -> Result<Option<(u16, &[u8], usize)>> {
    let Some(head_end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let strange = || "the host answered something strange".to_owned();
    let head = received.get(..head_end).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| strange())?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let length = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(Ok(0), str::parse).map_err(|_| strange())?;
    if length > MAX_ANSWER {
        return Err(strange());
    }
    let start = head_end + 4;
    let body = received.get(start..start + length);
    Ok(body.map(|body| (status.unwrap_or_default(), body, start + length)))
}
