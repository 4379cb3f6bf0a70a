//! What a client sends to a process, on its way.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{MAX_SSH_INPUT, SSH_INPUT, SSH_STALL_TIME};

/// What a client sends to a process, on its way; and whether what the process writes waits for the client.
#[derive(Debug, Default)]
pub(super) struct Input {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// Nothing more comes.
    is_ended: bool,
    /// Nobody reads any more.
    is_closed: bool,
    /// Since when output waits for the client.
    output_waits: Option<Instant>,
}

/// What there is for a process to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This.
    Chunk(Bytes),
    /// Nothing, and nothing more comes.
    End,
}

impl Input {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a chunk. False: the client has sent too much that nobody reads.
    pub(super) fn push(&self, chunk: &[u8]) -> bool {
        let mut state = self.lock();
        if state.is_closed || state.is_ended {
            return true;
        }
        if state.bytes >= MAX_SSH_INPUT {
            return false;
        }
        state.bytes += chunk.len();
        state.chunks.push_back(Bytes::copy_from_slice(chunk));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// The next chunk; one reads.
    pub(super) async fn pop(&self) -> Next {
        loop {
            {
                let mut state = self.lock();
                if let Some(chunk) = state.chunks.pop_front() {
                    state.bytes = state.bytes.saturating_sub(chunk.len());
                    return Next::Chunk(chunk);
                }
                if state.is_ended {
                    return Next::End;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_one();
    }

    /// Nobody reads any more; what comes is dropped, and who passes it on is at its end.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.is_ended = true;
        state.chunks.clear();
        state.bytes = 0;
        state.output_waits = None;
        drop(state);
        self.changed.notify_one();
    }

    /// Says whether output waits for the client.
    pub(super) fn set_output_waits(&self, waits: bool) {
        let mut state = self.lock();
        state.output_waits = (waits && !state.is_closed).then(Instant::now);
    }

    /// Whether there is enough that the process has not read yet.
    pub(super) fn is_full(&self) -> bool {
        self.lock().bytes >= SSH_INPUT
    }

    /// Whether output has waited for the client for a while.
    pub(super) fn is_output_stalled(&self) -> bool {
        let waits = self.lock().output_waits;
        waits.is_some_and(|since| since.elapsed() >= SSH_STALL_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_read_in_its_order_and_ends() {
        let input = Input::default();
        assert!(input.push(b"a") && input.push(b"b"));
        input.end();
        assert_eq!(input.pop().await, Next::Chunk(Bytes::from_static(b"a")));
        assert_eq!(input.pop().await, Next::Chunk(Bytes::from_static(b"b")));
        assert_eq!(input.pop().await, Next::End);
    }

    #[test]
    fn who_never_reads_and_goes_on_sending_is_cut_off() {
        let input = Input::default();
        let chunk = vec![0; MAX_SSH_INPUT / 4];
        for _ in 0..4 {
            assert!(input.push(&chunk));
        }
        assert!(input.is_full() && !input.push(&chunk));
        input.close();
        assert!(input.push(&chunk), "dropped");
        assert!(!input.is_full());
    }

    #[tokio::test]
    async fn where_nobody_reads_any_more_all_ends() {
        let input = Input::default();
        assert!(input.push(b"a"));
        input.close();
        assert_eq!(input.pop().await, Next::End);
    }

    #[tokio::test(start_paused = true)]
    async fn output_is_stalled_when_it_has_waited_for_a_while() {
        let input = Input::default();
        input.set_output_waits(true);
        assert!(!input.is_output_stalled());
        tokio::time::advance(SSH_STALL_TIME).await;
        assert!(input.is_output_stalled());
        input.set_output_waits(false);
        assert!(!input.is_output_stalled());
    }
}
