//! The server: TLS on a port, one task a connection, and a bound on everything.

mod connection;
mod places;
mod replay;
mod tls;

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::limits::{ACCEPT_BACK_OFF, FAREWELL};

use places::Places;
pub(crate) use tls::acceptor;

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
                    connection::answer(stream, address, acceptor, router, ending).await;
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
