//! A connection: agrees on TLS, and then answers one request after the other.
//!
//! HTTP is hyper's. It holds some 16 KiB for a connection, and what a request takes beside that; but
//! nearly every connection of a cluster is one of a runner that waits for orders, and there are 10,000.
//! So where all that is left to do is to wait ([`Later`]), hyper is put away and only TLS is kept. When
//! there is an answer, a new hyper finds before the other end's next request one of our own, which it
//! answers with that.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONNECTION;
use axum::http::{Request, Version};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service as _;

use super::replay::Replay;
use super::tls;
use crate::api::{Later, LaterAnswer, Peer};
use crate::limits::{FAREWELL, HANDSHAKE_TIME, HEAD_TIME};

/// The least that hyper takes for a connection's buffer (`max_buf_size`), twice: heads and most bodies fit.
const BUFFER: usize = 16 << 10;
/// What hyper answers with what was waited for.
const OWN_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: own\r\n\r\n";

/// Answers what comes over a connection, until either end hangs up or the host ends.
pub(super) async fn answer(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    ending: watch::Receiver<bool>,
) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    keep_alive(&stream);
    let Some(stream) = agree(stream, acceptor).await else {
        return;
    };
    let peer = Peer {
        address,
        certificate: tls::fingerprint(&stream),
    };
    converse(stream, peer, router, ending).await;
}

/// In a box: what waits shall be small.
async fn agree(stream: TcpStream, acceptor: TlsAcceptor) -> Option<Box<TlsStream<TcpStream>>> {
    let agreed = Box::pin(tokio::time::timeout(
        HANDSHAKE_TIME,
        acceptor.accept(stream),
    ))
    .await;
    agreed.ok()?.ok().map(Box::new)
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    peer: Peer,
    router: Router,
    mut ending: watch::Receiver<bool>,
) {
    let (mut received, mut answer) = (Vec::new(), None);
    loop {
        let speaking = speak(stream, received, answer, &peer, &router, &mut ending);
        let Some(mut waiting) = Box::pin(speaking).await else {
            return;
        };
        answer = wait(&mut waiting, &mut ending).await;
        if answer.is_none() {
            return;
        }
        (stream, received) = (waiting.stream, waiting.received);
        // Before what the other end may have sent after the request that waited.
        received.splice(..0, OWN_REQUEST.iter().copied());
    }
}

/// A connection on which nothing is left to do but to wait for an answer.
struct Waiting<S> {
    stream: S,
    /// What came after the request.
    received: Vec<u8>,
    answer: LaterAnswer,
}

/// Speaks HTTP until an answer has to be waited for; none where the connection is over.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    received: Vec<u8>,
    answer: Option<Response>,
    peer: &Peer,
    router: &Router,
    ending: &mut watch::Receiver<bool>,
) -> Option<Waiting<S>> {
    let desk = Desk::default();
    desk.lock().answer = answer;
    let service = hyper::service::service_fn(|request| {
        respond(request, peer.clone(), router.clone(), desk.clone())
    });
    // Hyper knows of no way to ask whether it has something to send.
    let is_flushed = Arc::new(AtomicBool::new(true));
    let stream = Replay::new(received, stream, Arc::clone(&is_flushed));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut told = pin!(ending.wait_for(|ending| *ending));
    let next = poll_fn(|cx| {
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(Next::Over);
        }
        if is_flushed.load(Ordering::Relaxed)
            && let Some(answer) = desk.lock().later.take()
        {
            return Poll::Ready(Next::Waits(answer));
        }
        told.as_mut().poll(cx).map(|_| Next::Ends)
    });
    match next.await {
        Next::Over => None,
        Next::Waits(answer) => {
            let parts = connection.into_parts();
            let (mut received, stream) = parts.io.into_inner().into_parts();
            // What hyper has read comes before what it has not.
            received.splice(..0, parts.read_buf.iter().copied());
            Some(Waiting {
                stream,
                received,
                answer,
            })
        }
        Next::Ends => {
            Pin::new(&mut connection).graceful_shutdown();
            desk.lock().is_closed = true;
            let _ = tokio::time::timeout(FAREWELL, connection).await;
            None
        }
    }
}

/// What becomes of a connection.
enum Next {
    Over,
    Waits(LaterAnswer),
    Ends,
}

/// What a connection and its service hand each other.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Handed>>);

#[derive(Default)]
struct Handed {
    /// What the next request, which is our own, is answered with.
    answer: Option<Response>,
    /// What the connection shall wait for.
    later: Option<LaterAnswer>,
    /// Whether the connection does not wait any more, since the host ends.
    is_closed: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Handed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the connection wait for an answer; gives it back where the connection does not.
    fn hand_over(&self, answer: LaterAnswer) -> Option<LaterAnswer> {
        let mut handed = self.lock();
        if handed.is_closed {
            return Some(answer);
        }
        handed.later = Some(answer);
        None
    }
}

async fn respond(
    mut request: Request<Incoming>,
    peer: Peer,
    router: Router,
    desk: Desk,
) -> Result<Response, Infallible> {
    let own = desk.lock().answer.take();
    if let Some(answer) = own {
        return Ok(answer);
    }
    // Whether the connection goes on after the answer is told from the request, and ours says yes.
    let goes_on =
        request.version() == Version::HTTP_11 && !request.headers().contains_key(CONNECTION);
    request.extensions_mut().insert(peer);
    let mut response = { router }.call(request).await?;
    let Some(mut answer) = Later::take(&mut response) else {
        return Ok(response);
    };
    if goes_on {
        answer = match desk.hand_over(answer) {
            Some(answer) => answer,
            // The connection puts this away at once.
            None => pending().await,
        };
    }
    Ok(answer.await)
}

/// Waits for an answer with as little as can be; none where the connection is over.
async fn wait<S: AsyncRead + Unpin>(
    waiting: &mut Waiting<S>,
    ending: &mut watch::Receiver<bool>,
) -> Option<Response> {
    let mut byte = [0];
    let mut hears_more = false;
    loop {
        tokio::select! {
            answer = waiting.answer.as_mut() => return Some(answer),
            // Who hangs up waits no more.
            read = waiting.stream.read(&mut byte), if !hears_more => match read {
                // More than that is not taken before this one is answered.
                Ok(1..) => {
                    waiting.received.extend(byte);
                    hears_more = true;
                }
                Ok(0) | Err(_) => return None,
            },
            // A runner asks again, and elsewhere; it is told nothing that it would miss.
            _ = ending.wait_for(|ending| *ending) => return None,
        }
    }
}

/// A node that was switched off says nothing any more; the kernel finds out.
fn keep_alive(stream: &TcpStream) {
    let alive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&alive);
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::oneshot;

    use super::*;

    const WAIT: &str = "POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
    const PLAIN: &str = "GET /plain HTTP/1.1\r\nhost: a\r\n\r\n";

    /// The other end of a connection to a host that answers `/plain` at once, and `/wait` when it is told
    /// what.
    struct Talk {
        stream: DuplexStream,
        tell: Option<oneshot::Sender<&'static str>>,
        ending: watch::Sender<bool>,
        connection: tokio::task::JoinHandle<()>,
    }

    fn talk() -> Talk {
        let (tell, told) = oneshot::channel::<&str>();
        let told = Arc::new(Mutex::new(Some(told)));
        let wait = move |_: String| {
            let told = told.lock().unwrap().take().unwrap();
            let answer = async move { Response::new(told.await.unwrap().into()) };
            std::future::ready(Later::new(answer))
        };
        let router = Router::new()
            .route("/wait", post(wait))
            .route("/plain", get(|| async { "plain" }));
        let (stream, other) = duplex(1 << 16);
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            certificate: None,
        };
        let (ending, ends) = watch::channel(false);
        let connection = tokio::spawn(converse(other, peer, router, ends));
        Talk {
            stream,
            tell: Some(tell),
            ending,
            connection,
        }
    }

    impl Talk {
        async fn say(&mut self, text: &str) {
            self.stream.write_all(text.as_bytes()).await.unwrap();
            // It is read, and waited for, before anything else happens.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        fn give_orders(&mut self) {
            self.tell.take().unwrap().send("orders").unwrap();
        }

        /// Bodies of answers, until the last of them ends so.
        async fn hear(&mut self, end: &str) -> Vec<String> {
            let mut heard = String::new();
            while !heard.ends_with(end) {
                let mut bytes = [0; 1024];
                let count = self.stream.read(&mut bytes).await.unwrap();
                assert_ne!(count, 0, "{heard}");
                heard.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            let answers = heard.split("HTTP/1.1 200 OK\r\n").skip(1);
            let body = |answer: &str| answer.split("\r\n\r\n").nth(1).unwrap().to_owned();
            answers.map(body).collect()
        }
    }

    #[tokio::test]
    async fn who_waits_is_answered_and_goes_on() {
        let mut talk = talk();
        talk.say(PLAIN).await;
        assert_eq!(talk.hear("plain").await, ["plain"]);
        talk.say(WAIT).await;
        talk.give_orders();
        assert_eq!(talk.hear("orders").await, ["orders"]);
        talk.say(PLAIN).await;
        assert_eq!(talk.hear("plain").await, ["plain"]);
    }

    #[tokio::test]
    async fn what_is_sent_behind_a_request_that_waits_is_answered_after_it() {
        for (together, apart) in [(format!("{WAIT}{PLAIN}"), ""), (WAIT.to_owned(), PLAIN)] {
            let mut talk = talk();
            talk.say(&together).await;
            talk.say(apart).await;
            talk.give_orders();
            assert_eq!(talk.hear("plain").await, ["orders", "plain"]);
        }
    }

    #[tokio::test]
    async fn who_wants_the_connection_closed_is_answered_before() {
        let mut talk = talk();
        let closing = WAIT.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        talk.say(&closing).await;
        talk.give_orders();
        let mut heard = String::new();
        talk.stream.read_to_string(&mut heard).await.unwrap();
        assert!(heard.ends_with("orders"), "{heard}");
    }

    #[tokio::test]
    async fn who_hangs_up_waits_no_more() {
        let mut talk = talk();
        talk.say(WAIT).await;
        let tell = talk.tell.take().unwrap();
        assert!(!tell.is_closed());
        drop(talk.stream);
        talk.connection.await.unwrap();
        assert!(tell.is_closed(), "the answer is not made any more");
    }

    #[tokio::test]
    async fn nobody_waits_while_the_host_ends() {
        let mut talk = talk();
        talk.say(WAIT).await;
        talk.ending.send(true).unwrap();
        talk.connection.await.unwrap();
    }
}
