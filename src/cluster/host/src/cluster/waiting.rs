//! Waiting: an exchange in which nothing is left to do but to wait for orders.
//!
//! At any moment nearly every runner of a cluster is here, so this is all that is kept of its request.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vfioctl_api::{NodeName, Order, Problem, SyncReply};
use vfioctl_scheduler::Record;

use super::Cluster;
use super::session::session_ended;
use crate::mirror::{Node, State};

/// Orders in one answer: a runner that has missed many gets the rest at once after it.
const MAX_ORDERS: usize = 500;

/// How far an exchange has come.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// To its end.
    Over(SyncReply),
    /// The runner waits for orders.
    Waits(Waiting),
}

/// A runner that waits for orders.
#[derive(Debug)]
pub(crate) struct Waiting {
    node: NodeName,
    session: String,
    /// Orders up to this revision it has seen.
    seen: u64,
    deadline: Instant,
}

impl Waiting {
    pub(super) fn new(node: &NodeName, session: String, seen: u64, wait: Duration) -> Self {
        Self {
            node: node.clone(),
            session,
            seen,
            deadline: Instant::now() + wait,
        }
    }

    /// Waits until there are orders that the runner has not seen, or the time is over.
    ///
    /// # Errors
    /// Where the session ends meanwhile.
    pub(crate) async fn reply(self, cluster: &Cluster) -> Result<SyncReply, Problem> {
        let notify = {
            let state = cluster.mirror.read();
            let known = state.nodes.get(&self.node);
            Arc::clone(&known.ok_or_else(|| session_ended(&self.node))?.notify)
        };
        loop {
            // Before looking, so that what changes between looking and waiting wakes it.
            let notified = notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let mut reply = SyncReply::default();
            if self.look(cluster, &mut reply)? || Instant::now() >= self.deadline {
                return Ok(reply);
            }
            drop(reply);
            let _ = tokio::time::timeout_at(self.deadline, notified).await;
        }
    }

    /// Puts orders that the runner has not seen into its reply; false where there are none.
    ///
    /// # Errors
    /// Where the session has ended.
    pub(super) fn look(&self, cluster: &Cluster, reply: &mut SyncReply) -> Result<bool, Problem> {
        let state = cluster.mirror.read();
        reply.revision = self.seen;
        let known = state.nodes.get(&self.node);
        let known = known.filter(|node| node.has_session(&self.session));
        let known = known.ok_or_else(|| session_ended(&self.node))?;
        reply.logs = cluster.relay.take_orders(&self.node, || {
            known.logs.values().map(|kept| kept.value.clone()).collect()
        });
        if known.changed > self.seen {
            let (orders, revision) = orders(&state, known, self.seen);
            reply.orders = orders;
            reply.revision = revision.unwrap_or(known.changed);
        }
        Ok(!reply.orders.is_empty() || !reply.logs.is_empty() || reply.revision > self.seen)
    }
}

/// Orders that are newer than what was seen, the oldest first; where there are more than fit, the
/// revision up to which these are.
fn orders(state: &State, node: &Node, seen: u64) -> (Vec<Order>, Option<u64>) {
    let mut newer: Vec<(u64, &Record)> = node
        .tasks
        .iter()
        .filter_map(|id| state.tasks.get(id))
        .filter(|kept| kept.revision > seen)
        .map(|kept| (kept.revision, &kept.value))
        .collect();
    newer.sort_by_key(|(revision, _)| *revision);
    let mut cut = None;
    if newer.len() > MAX_ORDERS {
        // Tasks that were written together go together.
        let last = newer.get(MAX_ORDERS).map_or(0, |(revision, _)| *revision);
        newer.retain(|(revision, _)| *revision < last);
        cut = newer.last().map(|(revision, _)| *revision);
    }
    let orders = newer.into_iter().map(|(_, record)| order(record)).collect();
    (orders, cut)
}

fn order(record: &Record) -> Order {
    Order {
        task: record.task.id.clone(),
        run: record.task.run,
        wanted: record.wanted,
        owner: record.task.owner.clone(),
        submission: record.task.submission.clone(),
        gpus: record.task.gpus.clone(),
    }
}
