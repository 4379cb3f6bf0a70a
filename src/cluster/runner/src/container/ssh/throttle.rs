//! A connection that is not listened to while what came is not read by whom it is for.
//!
//! SSH has a window for each direction of a session. The library renews that of the client as soon as
//! something has come, so it holds nobody back; not reading from the connection does. But the client's
//! word that it has room for more output comes by the same connection: with a process that waits for its
//! output to be taken before it reads on, both sides would wait for ever. So when output has waited for a
//! while, the connection is listened to all the same until that word has come, which it does behind one
//! window of input at most.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::input::Input;
use crate::limits::SSH_PAUSE;

/// What the sessions of a connection are sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Inputs(Arc<Mutex<Vec<Weak<Input>>>>);

impl Inputs {
    /// One more.
    pub(super) fn add(&self, input: &Arc<Input>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|input| input.strong_count() > 0);
        all.push(Arc::downgrade(input));
    }

    /// Whether to listen to the client.
    fn has_room(&self) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Arc<Input>> = all.iter().filter_map(Weak::upgrade).collect();
        !all.iter().any(|input| input.is_full())
            || all.iter().any(|input| input.is_output_stalled())
    }
}

/// A connection that is listened to while there is room.
#[derive(Debug)]
pub(super) struct Throttled<S> {
    stream: S,
    inputs: Inputs,
    pause: Pin<Box<Sleep>>,
}

impl<S> Throttled<S> {
    pub(super) fn new(stream: S, inputs: Inputs) -> Self {
        let pause = Box::pin(tokio::time::sleep(SSH_PAUSE));
        Self {
            stream,
            inputs,
            pause,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Throttled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.inputs.has_room() {
            if self.pause.is_elapsed() {
                self.pause.as_mut().reset(Instant::now() + SSH_PAUSE);
            }
            std::task::ready!(self.pause.as_mut().poll(context));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Throttled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;
    use crate::container::ssh::input::Next;
    use crate::limits::{SSH_INPUT, SSH_STALL_TIME};

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_listened_to_while_nobody_reads_unless_output_waits() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"more").await.unwrap();
        let inputs = Inputs::default();
        let (busy, other) = (Arc::new(Input::default()), Arc::new(Input::default()));
        inputs.add(&busy);
        inputs.add(&other);
        let mut server = Throttled::new(server, inputs);
        let mut byte = [0];
        server.read_exact(&mut byte).await.unwrap();
        assert!(busy.push(&vec![0; SSH_INPUT]));
        assert!(
            timeout(SSH_STALL_TIME * 10, server.read_exact(&mut byte))
                .await
                .is_err()
        );
        // Also where it is another session's output.
        other.set_output_waits(true);
        timeout(SSH_STALL_TIME * 2, server.read_exact(&mut byte))
            .await
            .unwrap()
            .unwrap();
        other.set_output_waits(false);
        assert!(
            timeout(SSH_STALL_TIME * 10, server.read_exact(&mut byte))
                .await
                .is_err()
        );
        assert!(matches!(busy.pop().await, Next::Chunk(_)));
        timeout(SSH_PAUSE * 2, server.read_exact(&mut byte))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(byte, *b"r");
    }
}
