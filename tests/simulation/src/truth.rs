//! The truth: what really happens on every node, whoever knows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vfioctl_api::{GpuNumber, Kind, NodeName, TaskId};
use vfioctl_host::limits::LEASE;
use vfioctl_scheduler::Use;

/// How long a begin takes at most from when the lease is looked at.
const MAX_BEGIN: Duration = Duration::from_millis(1100);

/// A run of a task.
pub type RunKey = (TaskId, u32);

/// What really happens on every node. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Truth(Arc<Mutex<Nodes>>);

/// All nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    /// By name.
    pub nodes: BTreeMap<NodeName, Node>,
    /// How often each run has begun, wherever.
    pub begun: BTreeMap<RunKey, u32>,
    /// What must never be, and was.
    pub violations: Vec<String>,
}

/// A node, with or without a runner.
#[derive(Debug, Default)]
pub struct Node {
    /// Runs that there is anything of.
    pub runs: BTreeMap<RunKey, Run>,
    /// Claims, as the helper keeps them: who has which GPU.
    pub claims: BTreeMap<RunKey, (BTreeSet<GpuNumber>, Use)>,
    /// GPUs that a person has taken by hand.
    pub taken_by_hand: BTreeSet<GpuNumber>,
    /// Disks and logs of tasks.
    pub remains: BTreeSet<TaskId>,
    /// Whether its disk is full.
    pub is_full: bool,
    /// Since when it is cut off from every host; none: it is not.
    pub cut_off: Option<Instant>,
}

/// A run on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// When it ends by itself; none: never.
    pub ends: Option<Instant>,
    /// The status that it ends with.
    pub status: i64,
    /// Whether it has ended.
    pub has_ended: bool,
}

/// GPUs 2 and 3 of every node cannot be kept apart.
pub(crate) fn together(gpu: GpuNumber) -> Vec<GpuNumber> {
    match gpu.get() {
        2 => vec![GpuNumber::from(3)],
        3 => vec![GpuNumber::from(2)],
        _ => Vec::new(),
    }
}

impl Truth {
    /// What is, now.
    pub fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn violation(&self, text: String) {
        self.lock().violations.push(text);
    }
}

impl Nodes {
    pub(crate) fn node(&mut self, name: &NodeName) -> &mut Node {
        self.nodes.entry(name.clone()).or_default()
    }

    /// A run begins: once in its life. A command has only one that does, and a server never two at once.
    pub(crate) fn begin(&mut self, node: &NodeName, key: &RunKey, kind: Kind, run: Run) {
        let has_begun = |(task, number): &RunKey| *task == key.0 && *number != key.1;
        if kind == Kind::Command && self.begun.keys().any(has_begun) {
            self.violations
                .push(format!("task {} is a command and began again", key.0));
        }
        for (other, known) in &self.nodes {
            let now = Instant::now();
            let goes_on = |(key, run): (&RunKey, &Run)| {
                has_begun(key) && !run.has_ended && run.ends.is_none_or(|ends| ends > now)
            };
            if known.runs.iter().any(goes_on) {
                self.violations.push(format!(
                    "task {} begins on {node} while it runs on {other}",
                    key.0
                ));
            }
        }
        let count = self.begun.entry(key.clone()).or_default();
        *count += 1;
        if *count > 1 {
            self.violations.push(format!(
                "run {} of task {} began {count} times",
                key.1, key.0
            ));
        }
        let cut_off = self.node(node).cut_off;
        if cut_off.is_some_and(|since| since.elapsed() > LEASE + MAX_BEGIN) {
            self.violations.push(format!(
                "task {} begins on {node}, which has long been cut off",
                key.0
            ));
        }
        let node = self.node(node);
        node.runs.insert(key.clone(), run);
        node.remains.insert(key.0.clone());
    }
}

impl Node {
    /// Lets what has come to its end end.
    pub(crate) fn advance(&mut self, now: Instant) {
        for run in self.runs.values_mut() {
            if run.ends.is_some_and(|ends| ends <= now) {
                run.has_ended = true;
            }
        }
    }

    /// Claims GPUs for a run, as the helper does: all or none.
    pub(crate) fn claim(
        &mut self,
        key: &RunKey,
        gpus: &[GpuNumber],
        gpu_use: Use,
    ) -> Result<(), String> {
        let mut wanted: BTreeSet<GpuNumber> = gpus.iter().copied().collect();
        if gpu_use == Use::Machine {
            wanted.extend(gpus.iter().flat_map(|gpu| together(*gpu)));
        }
        if let Some(gpu) = wanted.iter().find(|gpu| self.taken_by_hand.contains(gpu)) {
            return Err(format!("user 'ann' of the node has GPU {gpu}"));
        }
        for (other, (held, other_use)) in self.claims.iter().filter(|(other, _)| *other != key) {
            let is_beside = gpu_use == Use::Shared && *other_use == Use::Shared;
            // A machine's mates are its own; a container's mates only keep machines away.
            let mut reach: BTreeSet<GpuNumber> = held.clone();
            if gpu_use == Use::Machine || *other_use == Use::Machine {
                reach.extend(held.iter().flat_map(|gpu| together(*gpu)));
            }
            if let Some(gpu) = wanted.intersection(&reach).next().filter(|_| !is_beside) {
                return Err(format!("task '{}' has GPU {gpu}", other.0));
            }
        }
        self.claims.insert(key.clone(), (wanted, gpu_use));
        Ok(())
    }

    /// The machine is switched off and on: nothing runs, nothing is claimed, disks are as they were.
    pub(crate) fn reboot(&mut self) {
        self.runs.clear();
        self.claims.clear();
        self.taken_by_hand.clear();
    }
}
