//! The door: a port of the node, and who may stand in it at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russh::keys::PublicKey;
use russh::server::Config;
use russh::{MethodKind, MethodSet, SshId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::guest::Guest;
use super::host_key::HostKey;
use super::process::Room;
use crate::configuration::PortRange;
use crate::limits::{
    MAX_SSH_ATTEMPTS, MAX_SSH_CONNECTIONS, MAX_SSH_STRANGERS, SSH_KEEPALIVE, SSH_LOGIN_TIME,
    SSH_QUEUE,
};

/// Where doors can be.
#[derive(Debug, Clone)]
pub(in crate::container) struct Place {
    /// The address that the node's servers are reached at.
    pub(in crate::container) address: String,
    pub(in crate::container) ports: PortRange,
}

/// A port at which a container is reached; closed, and everybody sent away, when it is dropped.
#[derive(Debug)]
pub(in crate::container) struct Door {
    port: u16,
    task: tokio::task::JoinHandle<()>,
    /// Those who are inside end when this does.
    _inside: tokio::sync::watch::Sender<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Place {
    /// Takes a port: the one that it was before, where that is free.
    ///
    /// # Errors
    /// Where none is free, as a sentence.
    pub(in crate::container) async fn take_port(
        &self,
        before: Option<u16>,
    ) -> Result<TcpListener, String> {
        let before = before.filter(|port| (self.ports.first..=self.ports.last).contains(port));
        let ports = before.into_iter().chain(self.ports.first..=self.ports.last);
        let address = self.own_address().await;
        let mut last = None;
        for port in ports {
            match TcpListener::bind(SocketAddr::new(address, port)).await {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(format!(
            "no port of {} to {} is free for SSH ({}); widen '[runner.containers] ssh_ports'",
            self.ports.first,
            self.ports.last,
            last.map(|error| error.to_string()).unwrap_or_default()
        ))
    }

    /// The address to listen at: the one that the node is reached at, where that is this machine's own, and
    /// every one where another machine passes on what comes for it.
    async fn own_address(&self) -> IpAddr {
        let found = match self.address.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => {
                let found = tokio::net::lookup_host((self.address.as_str(), 0)).await;
                found
                    .ok()
                    .and_then(|mut found| found.next())
                    .map(|address| address.ip())
            }
        };
        match found {
            Some(address) if TcpListener::bind(SocketAddr::new(address, 0)).await.is_ok() => {
                address
            }
            Some(IpAddr::V6(_)) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            _ => std::net::Ipv4Addr::UNSPECIFIED.into(),
        }
    }
}

impl Door {
    /// Opens it: lets those in who have one of the keys.
    pub(in crate::container) fn open(
        listener: TcpListener,
        host_key: HostKey,
        keys: Vec<PublicKey>,
        room: Room,
    ) -> Self {
        let port = listener
            .local_addr()
            .map(|address| address.port())
            .unwrap_or_default();
        let (inside, closing) = tokio::sync::watch::channel(());
        let config = Arc::new(config(host_key));
        let keys: Arc<[PublicKey]> = keys.into();
        let room = Arc::new(room);
        let task = tokio::spawn(async move {
            let all = Arc::new(Semaphore::new(MAX_SSH_CONNECTIONS));
            let strangers = Arc::new(Semaphore::new(MAX_SSH_STRANGERS));
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // No descriptors are left, for the moment.
                    tokio::time::sleep(crate::limits::ASK_AGAIN).await;
                    continue;
                };
                let permits = (
                    Arc::clone(&all).try_acquire_owned(),
                    Arc::clone(&strangers).try_acquire_owned(),
                );
                // Who comes when it is full is sent away; those inside are not disturbed.
                let (Ok(place), Ok(stranger)) = permits else {
                    continue;
                };
                let is_known = Arc::new(AtomicBool::new(false));
                let guest = Guest::new(
                    Arc::clone(&keys),
                    Arc::clone(&room),
                    Arc::clone(&is_known),
                    stranger,
                );
                let (config, mut closing) = (Arc::clone(&config), closing.clone());
                tokio::spawn(async move {
                    let _place = place;
                    let Some((stream, cutter)) = with_cutter(stream) else {
                        return;
                    };
                    let serve = serve(config, stream, guest, is_known);
                    tokio::select! {
                        () = serve => {}
                        _ = closing.changed() => {}
                    }
                    // Whatever is still in flight ends with it.
                    let _ = cutter.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Self {
            port,
            task,
            _inside: inside,
        }
    }

    /// Its port.
    pub(in crate::container) fn port(&self) -> u16 {
        self.port
    }
}

/// A stream, and what ends it whoever holds it.
fn with_cutter(stream: TcpStream) -> Option<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std().ok()?;
    let cutter = stream.try_clone().ok()?;
    Some((TcpStream::from_std(stream).ok()?, cutter))
}

async fn serve(config: Arc<Config>, stream: TcpStream, guest: Guest, is_known: Arc<AtomicBool>) {
    let begun = tokio::time::timeout(
        SSH_LOGIN_TIME,
        russh::server::run_stream(config, stream, guest),
    )
    .await;
    let Ok(Ok(session)) = begun else { return };
    let ended = async move {
        // How a client leaves is its own affair.
        let _ = session.await;
    };
    let stayed_strange = async {
        tokio::time::sleep(SSH_LOGIN_TIME).await;
        if is_known.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = stayed_strange => {}
    }
}

fn config(host_key: HostKey) -> Config {
    Config {
        server_id: SshId::Standard("SSH-2.0-vfioctl".into()),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time_initial: Some(std::time::Duration::ZERO),
        keys: vec![host_key.0],
        max_auth_attempts: MAX_SSH_ATTEMPTS,
        inactivity_timeout: None,
        keepalive_interval: Some(SSH_KEEPALIVE),
        keepalive_max: 3,
        channel_buffer_size: SSH_QUEUE,
        nodelay: true,
        ..Config::default()
    }
}
