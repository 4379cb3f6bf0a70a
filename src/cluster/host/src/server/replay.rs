//! Replay: a stream that begins with what was received before, and that tells whether all that was
//! written to it is on its way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that begins with what was received before.
#[derive(Debug)]
pub(super) struct Replay<S> {
    before: Vec<u8>,
    /// How much of it was read again.
    read: usize,
    stream: S,
    /// Whether all that was written is on its way; for whoever does not have the stream.
    is_flushed: Arc<AtomicBool>,
}

impl<S> Replay<S> {
    pub(super) fn new(before: Vec<u8>, stream: S, is_flushed: Arc<AtomicBool>) -> Self {
        Self {
            before,
            read: 0,
            stream,
            is_flushed,
        }
    }

    /// What was not read again, and the stream.
    pub(super) fn into_parts(mut self) -> (Vec<u8>, S) {
        (self.before.split_off(self.read), self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.before.get(this.read..) {
            None | Some([]) => Pin::new(&mut this.stream).poll_read(cx, into),
            Some(left) => {
                let (now, later) = left.split_at(left.len().min(into.remaining()));
                into.put_slice(now);
                this.read += now.len();
                if later.is_empty() {
                    (this.before, this.read) = (Vec::new(), 0);
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.is_flushed.store(flushed.is_ready(), Ordering::Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn replay(before: &[u8], stream: &[u8]) -> Replay<Cursor<Vec<u8>>> {
        Replay::new(
            before.to_vec(),
            Cursor::new(stream.to_vec()),
            Arc::default(),
        )
    }

    #[tokio::test]
    async fn what_was_received_before_comes_first() {
        let mut replay = replay(b"before", b"after");
        let mut some = [0; 4];
        replay.read_exact(&mut some).await.unwrap();
        assert_eq!(&some, b"befo");
        let mut all = String::new();
        replay.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "reafter");
    }

    #[tokio::test]
    async fn what_was_not_read_again_is_given_back() {
        let mut replay = replay(b"before", b"");
        let mut some = [0; 2];
        replay.read_exact(&mut some).await.unwrap();
        assert_eq!(replay.into_parts().0, b"fore");
    }
}
