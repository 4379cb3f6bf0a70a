//! The relay: logs stay on their nodes, and come through a host when somebody reads them.
//!
//! A reader's host writes down that it wants a log, under a lease that ends with the reader. The
//! node's runner finds that order with the host it talks to, whichever that is, and sends the log to
//! the reader's host, as a stream of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use vfioctl_api::{LogOrder, LogStream, NodeName, Problem, ProblemCode, Task};
use vfioctl_store::{Lease, Transaction};

use super::{Cluster, to_json, unavailable};
use crate::keys;
use crate::limits::{LOG_PIECES, LOG_TIME, MAX_LOGS};

/// How long an order stands where its host has vanished.
const ORDER_LEASE: Duration = Duration::from_secs(60);

/// Logs that are being read here, and orders that have been passed on.
#[derive(Debug, Default)]
pub(crate) struct Relay(Mutex<Streams>);

#[derive(Debug, Default)]
struct Streams {
    /// Who waits for which stream, and of which node it must come; without a sender it comes already.
    waiting: BTreeMap<String, (NodeName, Option<mpsc::Sender<LogPiece>>)>,
    /// Orders that a runner was told by this host; it is told each once.
    told: BTreeSet<String>,
}

/// A piece of a log, or why there are no more.
pub(crate) type LogPiece = Result<Vec<u8>, String>;

/// Which log is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogWanted {
    pub(crate) log: LogStream,
    pub(crate) offset: u64,
    pub(crate) follow: bool,
}

/// The pieces of a log, as they come. Dropped, the order is taken back.
#[derive(Debug)]
pub(crate) struct LogPieces {
    pieces: mpsc::Receiver<LogPiece>,
    cluster: Cluster,
    node: NodeName,
    stream: String,
    lease: Lease,
    is_first: bool,
}

impl Relay {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders that the runner of a node has not been told by this host.
    pub(super) fn take_orders(
        &self,
        node: &NodeName,
        known: impl FnOnce() -> Vec<LogOrder>,
    ) -> Vec<LogOrder> {
        let orders = known();
        let mut streams = self.lock();
        // What was told of orders that are over is forgotten.
        let own = format!("{node}/");
        let stands = |told: &str| orders.iter().any(|order| told == order.stream);
        streams
            .told
            .retain(|told| told.strip_prefix(&own).is_none_or(stands));
        let is_new = |order: &LogOrder| streams.told.insert(format!("{node}/{}", order.stream));
        orders.into_iter().filter(is_new).collect()
    }

    /// Where a runner's pieces of a stream go; none: nobody waits for it, not from this node, or it
    /// comes already. There is no other sender, so that the reader sees the end when this one ends.
    pub(crate) fn sender(&self, stream: &str, node: &NodeName) -> Option<mpsc::Sender<LogPiece>> {
        let mut streams = self.lock();
        let (of, sender) = streams.waiting.get_mut(stream)?;
        let sender = sender.take_if(|_| of == node)?;
        // Says that it comes: a task may write nothing for hours. The queue is empty still.
        let _ = sender.try_send(Ok(Vec::new()));
        Some(sender)
    }
}

impl Cluster {
    /// Begins to read a log of a task.
    ///
    /// # Errors
    /// Where the task has none, its node is away, or too many logs are being read.
    pub(crate) async fn read_log(
        &self,
        task: &Task,
        wanted: LogWanted,
    ) -> Result<LogPieces, Problem> {
        let node = task.node.clone().ok_or_else(|| {
            let message = format!("task '{}' has no log yet: it is {}", task.id, task.state);
            Problem::new(ProblemCode::WrongState, message)
        })?;
        let is_there = self
            .mirror
            .read()
            .nodes
            .get(&node)
            .is_some_and(|node| node.alive.is_some());
        if !is_there {
            let message = format!(
                "the log of task '{}' is on node '{node}', which is offline",
                task.id
            );
            return Err(
                Problem::new(ProblemCode::NodeOffline, message).hint("try again when it is back")
            );
        }
        let stream = self.random_word();
        let (sender, pieces) = mpsc::channel(LOG_PIECES);
        {
            let mut streams = self.relay.lock();
            if streams.waiting.len() >= MAX_LOGS {
                let message = format!("{MAX_LOGS} logs are being read through this host");
                return Err(
                    Problem::new(ProblemCode::TooMuch, message).hint("try again in a moment")
                );
            }
            streams
                .waiting
                .insert(stream.clone(), (node.clone(), Some(sender)));
        }
        let lease = self
            .store
            .grant(ORDER_LEASE)
            .await
            .map_err(|error| unavailable(&error));
        let pieces = LogPieces {
            pieces,
            cluster: self.clone(),
            node: node.clone(),
            stream: stream.clone(),
            lease: *lease.as_ref().unwrap_or(&Lease::from_number(0)),
            is_first: true,
        };
        let lease = lease?;
        let order = LogOrder {
            stream: stream.clone(),
            host: self.address.to_string(),
            task: task.id.clone(),
            log: wanted.log,
            offset: wanted.offset,
            follow: wanted.follow,
        };
        let key = keys::log(&node, &stream)
            .ok_or_else(|| Problem::new(ProblemCode::Internal, "a log could not be named"))?;
        let transaction = Transaction::new().put_leased(&key, to_json(&order)?, lease);
        self.write(transaction, &[key]).await?;
        Ok(pieces)
    }
}

impl LogPieces {
    /// The next piece; none: that was all.
    ///
    /// # Errors
    /// Where the runner does not send it.
    pub(crate) async fn next(&mut self) -> Option<LogPiece> {
        loop {
            match self.receive().await {
                // Only says that it comes.
                Some(Ok(piece)) if piece.is_empty() => {}
                other => return other,
            }
        }
    }

    async fn receive(&mut self) -> Option<LogPiece> {
        if !self.is_first {
            return self.pieces.recv().await;
        }
        self.is_first = false;
        match tokio::time::timeout(LOG_TIME, self.pieces.recv()).await {
            Ok(piece) => piece,
            Err(_) => Some(Err(format!(
                "node '{}' has not sent it within {} s",
                self.node,
                LOG_TIME.as_secs()
            ))),
        }
    }
}

impl Drop for LogPieces {
    fn drop(&mut self) {
        {
            let mut streams = self.cluster.relay.lock();
            streams.waiting.remove(&self.stream);
            streams
                .told
                .remove(&format!("{}/{}", self.node, self.stream));
        }
        let (cluster, lease) = (self.cluster.clone(), self.lease);
        // Where that fails, the lease ends by itself. Without a runtime, the host is ending.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { cluster.store.revoke(lease).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::error::TryRecvError;

    use super::*;

    #[test]
    fn a_log_comes_once_from_its_node_and_ends_with_its_sender() {
        let relay = Relay::default();
        let (sender, mut pieces) = mpsc::channel(LOG_PIECES);
        let [own, other]: [NodeName; 2] = ["gpu-1", "gpu-2"].map(|name| name.parse().unwrap());
        relay
            .lock()
            .waiting
            .insert("s".to_owned(), (own.clone(), Some(sender)));
        assert!(relay.sender("s", &other).is_none());
        assert!(relay.sender("t", &own).is_none());
        let sender = relay.sender("s", &own).unwrap();
        assert!(relay.sender("s", &own).is_none(), "it comes already");
        sender.try_send(Ok(b"a".to_vec())).unwrap();
        drop(sender);
        let first = [pieces.try_recv().unwrap(), pieces.try_recv().unwrap()];
        assert_eq!(first, [Ok(Vec::new()), Ok(b"a".to_vec())]);
        assert_eq!(pieces.try_recv(), Err(TryRecvError::Disconnected));
    }
}
