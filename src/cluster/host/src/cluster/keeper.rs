//! The keeper: what nobody asks for. One host of all is the leader and places what waits, tells what
//! is lost, and forgets what is old; the others look whether there still is one.
//!
//! Nothing is wrong where two believe to be the leader for a moment: all they write goes through the
//! ledger, where the second is a conflict.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use vfioctl_api::{Moment, NodeName, TaskId, TaskState};
use vfioctl_scheduler::{Demand, Placement, Queued, life, place_all};
use vfioctl_store::{Lease, Transaction};

use super::Cluster;
use super::draft::Draft;
use super::task::give_queued;
use crate::keys;
use crate::limits::{
    LEADER_BEAT, LEADER_LEASE, LEASE, MAX_PLACED, MAX_TASKS_KEPT, QUEUE_BEAT, TASK_RETENTION,
};

/// Tasks that one operation gives to nodes: each takes two places, and its node two more.
const PLACED_AT_ONCE: usize = 20;
/// Tasks that one operation changes on one node.
const LOST_AT_ONCE: usize = 24;
/// How often what is old is looked for.
const SWEEP_BEAT: Duration = Duration::from_secs(60);

/// Keeps the cluster for as long as the host runs.
pub(super) async fn keep(cluster: Cluster) {
    let mut revisions = cluster.mirror.watch_revision();
    let mut lease = None;
    let mut next_beat = Instant::now();
    let mut next_sweep = Instant::now() + SWEEP_BEAT;
    loop {
        if Instant::now() >= next_beat {
            lead(&cluster, &mut lease).await;
            next_beat = Instant::now() + LEADER_BEAT;
        }
        revisions.mark_unchanged();
        if cluster.is_leader() {
            tell_lost(&cluster).await;
            place_waiting(&cluster).await;
            if Instant::now() >= next_sweep {
                sweep(&cluster).await;
                next_sweep = Instant::now() + SWEEP_BEAT;
            }
        }
        let beat = next_beat.min(Instant::now() + QUEUE_BEAT);
        // What changes may have freed room; what does not may have waited long enough.
        let _ = tokio::time::timeout_at(beat, revisions.changed()).await;
    }
}

impl Cluster {
    /// Whether this host is the one that places what waits.
    pub fn is_leader(&self) -> bool {
        let state = self.mirror.read();
        state
            .leader
            .as_ref()
            .is_some_and(|leader| *leader.value == *self.host)
    }
}

/// Says that this host leads, or becomes the leader where there is none.
async fn lead(cluster: &Cluster, lease: &mut Option<Lease>) {
    if let Some(held) = *lease {
        if cluster.store.renew(held).await.is_ok() && cluster.is_leader() {
            return;
        }
        *lease = None;
        let _ = cluster.store.revoke(held).await;
    }
    if cluster.mirror.read().leader.is_some() {
        return;
    }
    let Ok(granted) = cluster.store.grant(LEADER_LEASE).await else {
        return;
    };
    let Ok(name) = super::to_json(&*cluster.host) else {
        return;
    };
    let key = keys::leader();
    let transaction = Transaction::new()
        .if_absent(&key)
        .put_leased(&key, name, granted);
    match cluster.write(transaction, &[key]).await {
        Ok(true) => *lease = Some(granted),
        Ok(false) | Err(_) => drop(cluster.store.revoke(granted).await),
    }
}

/// Nodes that are gone: their lease has ended, and this host has known the cluster for long enough to
/// tell that from not knowing it yet.
fn gone_nodes(cluster: &Cluster) -> Vec<(NodeName, Vec<TaskId>)> {
    let now = cluster.now();
    let grace = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    // After a start, a node that is there comes within its heartbeat.
    if now < cluster.started.saturating_add(grace) {
        return Vec::new();
    }
    let state = cluster.mirror.read();
    let gone = state
        .nodes
        .iter()
        .filter(|(_, node)| node.alive.is_none() && !node.tasks.is_empty());
    let with_tasks = gone.map(|(name, node)| {
        let is_told = |id: &&TaskId| {
            let record = state.tasks.get(*id).map(|kept| &kept.value);
            record.is_some_and(|record| life::node_gone(record, now).is_some())
        };
        (
            name.clone(),
            node.tasks
                .iter()
                .filter(is_told)
                .cloned()
                .collect::<Vec<_>>(),
        )
    });
    with_tasks.filter(|(_, tasks)| !tasks.is_empty()).collect()
}

/// Tells of every task on a node that is gone what is known: that it goes elsewhere, or is lost.
async fn tell_lost(cluster: &Cluster) {
    for (node, tasks) in gone_nodes(cluster) {
        for ids in tasks.chunks(LOST_AT_ONCE) {
            let (node, ids) = (node.clone(), ids.to_vec());
            let weight = 2 * ids.len() + 3;
            let operation = move |draft: &mut Draft<'_>, now| {
                let is_there = draft
                    .state()
                    .nodes
                    .get(&node)
                    .is_some_and(|node| node.alive.is_some());
                if is_there {
                    return Ok(());
                }
                // It may have come back a moment ago, to a host that this one has not heard from yet.
                draft.require_absent(keys::alive(&node));
                for id in &ids {
                    let record = draft
                        .task(id)
                        .filter(|record| record.task.node.as_ref() == Some(&node));
                    if let Some(changed) = record.and_then(|record| life::node_gone(record, now)) {
                        draft.put(changed, None);
                    }
                }
                Ok(())
            };
            if let Err(problem) = cluster.ledger.run(weight, operation).await {
                crate::log::warning(&format!(
                    "tasks of an offline node could not be marked: {problem}"
                ));
                return;
            }
        }
    }
}

/// Gives tasks that wait to nodes with room.
async fn place_waiting(cluster: &Cluster) {
    loop {
        let decided = decide(cluster);
        if decided.placed.is_empty() && decided.reasons.is_empty() {
            return;
        }
        for placed in decided.placed.chunks(PLACED_AT_ONCE) {
            let placed = placed.to_vec();
            let weight = 4 * placed.len();
            let operation = move |draft: &mut Draft<'_>, now| {
                for (id, placement) in &placed {
                    // Room may have been taken meanwhile; then it waits for the next look.
                    let has_room = draft.task(id).is_some_and(|record| {
                        let demand = Demand::of(&record.task.submission);
                        let room = draft.room(&placement.node);
                        vfioctl_scheduler::still_fits(room, &demand, &placement.gpus)
                    });
                    if has_room {
                        give_queued(draft, id, placement.clone(), now);
                    }
                }
                Ok(())
            };
            if cluster.ledger.run(weight, operation).await.is_err() {
                return;
            }
        }
        if !tell_reasons(cluster, decided.reasons).await || decided.placed.len() < MAX_PLACED {
            return;
        }
    }
}

/// What was decided about tasks that wait.
struct Decided {
    placed: Vec<(TaskId, Placement)>,
    /// Why others wait, where that is another reason than is known.
    reasons: Vec<(TaskId, String)>,
}

fn decide(cluster: &Cluster) -> Decided {
    let mut decided = Decided {
        placed: Vec::new(),
        reasons: Vec::new(),
    };
    let state = cluster.mirror.read();
    if state.queue.is_empty() {
        // Each change of anything leads here, and the rooms of 10,000 nodes are some MiB.
        return decided;
    }
    let mut rooms: Vec<_> = state.rooms().cloned().collect();
    let waiting = state
        .queue
        .iter()
        .filter_map(|id| state.tasks.get(id))
        .take(MAX_PLACED);
    let queue = waiting.map(|kept| Queued {
        id: &kept.value.task.id,
        owner: &kept.value.task.owner,
        demand: Demand::of(&kept.value.task.submission),
        not_before: kept.value.not_before,
    });
    for (id, decision) in place_all(&mut rooms, queue, cluster.now()) {
        match decision {
            Ok(placement) => decided.placed.push((id, placement)),
            Err(obstacle) => {
                let reason = obstacle.to_string();
                let known = state
                    .tasks
                    .get(&id)
                    .and_then(|kept| kept.value.task.reason.as_ref());
                if known != Some(&reason) {
                    decided.reasons.push((id, reason));
                }
            }
        }
    }
    decided
}

async fn tell_reasons(cluster: &Cluster, reasons: Vec<(TaskId, String)>) -> bool {
    for reasons in reasons.chunks(LOST_AT_ONCE) {
        let reasons = reasons.to_vec();
        let weight = 2 * reasons.len();
        let operation = move |draft: &mut Draft<'_>, _| {
            for (id, reason) in &reasons {
                let waiting = draft
                    .task(id)
                    .filter(|record| record.task.state == TaskState::Queued);
                if let Some(record) = waiting {
                    let mut record = record.clone();
                    record.task.reason = Some(reason.clone());
                    draft.put(record, None);
                }
            }
            Ok(())
        };
        if cluster.ledger.run(weight, operation).await.is_err() {
            return false;
        }
    }
    true
}

/// Forgets what is old.
async fn sweep(cluster: &Cluster) {
    let now = cluster.now();
    cluster.forget_expired(now).await;
    let old = old_tasks(cluster, now);
    for ids in old.chunks(LOST_AT_ONCE) {
        let ids = ids.to_vec();
        let weight = 2 * ids.len() + 2;
        let operation = move |draft: &mut Draft<'_>, _| {
            for id in &ids {
                let Some(record) = draft.task(id).filter(|record| record.task.state.is_over())
                else {
                    continue;
                };
                let node = record.task.node.clone();
                let is_known = node.is_some_and(|node| draft.state().nodes.contains_key(&node));
                match life::remove(record) {
                    Ok(Some(changed)) if is_known => draft.put(changed, None),
                    _ => draft.remove(id),
                }
            }
            Ok(())
        };
        if cluster.ledger.run(weight, operation).await.is_err() {
            return;
        }
    }
}

/// Commands that ended long ago, and the oldest of too many. A server that was stopped is kept: its
/// disk is somebody's work.
fn old_tasks(cluster: &Cluster, now: Moment) -> Vec<TaskId> {
    let state = cluster.mirror.read();
    let retention = u64::try_from(TASK_RETENTION.as_millis()).unwrap_or(u64::MAX);
    let over = state.tasks.values().filter(|kept| {
        let task = &kept.value.task;
        task.state.is_over() && task.state != TaskState::Stopped
    });
    let over: Vec<_> = over.map(|kept| &kept.value.task).collect();
    let surplus = over.len().saturating_sub(MAX_TASKS_KEPT);
    let old = over.iter().enumerate().filter(|(index, task)| {
        let ended = task.ended.unwrap_or(task.submitted);
        *index < surplus || ended.saturating_add(retention) < now
    });
    let ids: BTreeSet<TaskId> = old.map(|(_, task)| task.id.clone()).collect();
    ids.into_iter().collect()
}
