//! The server: TLS on a port, one task a connection, and a bound on everything.

mod places;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::api::Peer;
use crate::limits::{ACCEPT_BACK_OFF, FAREWELL, HANDSHAKE_TIME, HEAD_TIME};

use places::Places;
pub(crate) use tls::acceptor;

/// The least that hyper takes for a connection's buffer (`max_buf_size`), twice: heads and most bodies fit.
const BUFFER: usize = 16 << 10;

/// Answers until it is told to end; then those who ask already are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    mut ending: watch::Receiver<bool>,
) {
    let places = Arc::new(Places::default());
    let (finished, mut all_finished) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = ending.wait_for(|ending| *ending) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                // Over the limit the connection is closed without a word: a word could block.
                let Some(place) = places.take(address.ip()) else {
                    continue;
                };
                let (acceptor, router) = (acceptor.clone(), router.clone());
                let (ending, finished) = (ending.clone(), finished.clone());
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, address, acceptor, router, ending).await;
                    drop(finished);
                });
            }
            Err(error) => {
                crate::log::warning(&format!("cannot accept a connection: {error}; waiting"));
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
    drop(listener);
    drop(finished);
    let _ = tokio::time::timeout(FAREWELL, all_finished.recv()).await;
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    mut ending: watch::Receiver<bool>,
) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    keep_alive(&stream);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await else {
        return;
    };
    let peer = Peer {
        address,
        certificate: tls::fingerprint(&stream),
    };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending) => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(FAREWELL, connection).await;
}

/// A node that was switched off says nothing any more; the kernel finds out.
fn keep_alive(stream: &TcpStream) {
    let alive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&alive);
}
