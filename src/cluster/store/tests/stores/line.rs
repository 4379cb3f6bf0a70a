//! A line to a server that can be cut, as a cable is: what was sent may have arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Passes on what is sent in both directions, until it is cut.
pub(crate) struct Line {
    port: u16,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// Answers are held back.
    is_mute: AtomicBool,
    /// Bytes that were passed on to the server.
    sent: AtomicUsize,
    cut: Notify,
}

impl Line {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (own, state) = (
            listener.local_addr().unwrap().port(),
            Arc::<State>::default(),
        );
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                    connections.spawn(pass(client, server, Arc::clone(&shared)));
                }
            }
        });
        Self {
            port: own,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Holds answers back from now on, or passes them on again.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.state.is_mute.store(is_mute, Ordering::SeqCst);
    }

    pub(crate) fn sent(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.state.cut.notify_waiters();
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, state: Arc<State>) {
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    let cut = state.cut.notified();
    tokio::pin!(cut);
    loop {
        tokio::select! {
            () = &mut cut => return,
            len = client.read(&mut up) => match len {
                Ok(1..) => {
                    let len = len.unwrap();
                    if server.write_all(&up[..len]).await.is_err() {
                        return;
                    }
                    state.sent.fetch_add(len, Ordering::SeqCst);
                }
                _ => return,
            },
            len = server.read(&mut down), if !state.is_mute.load(Ordering::SeqCst) => match len {
                Ok(1..) => {
                    if client.write_all(&down[..len.unwrap()]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
        }
    }
}
