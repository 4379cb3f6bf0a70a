//! The inspector: looks at every change of the store, and at the end at everything.

use std::collections::{BTreeMap, BTreeSet};

use vfioctl_api::{GpuNumber, NodeName, TaskId, TaskState, Wanted};
use vfioctl_scheduler::{Allocation, Record, Use};
use vfioctl_store::{Entry, MemoryStore, Prefix, Store, WatchedChange};

use crate::truth::{Truth, together};

/// What the store holds of tasks and allocations.
#[derive(Debug, Default)]
struct Seen {
    tasks: BTreeMap<TaskId, Record>,
    allocations: BTreeMap<NodeName, Allocation>,
}

impl Seen {
    fn put(&mut self, entry: &Entry) {
        let name = entry.key.last_word();
        match entry.key.as_str().split('/').next() {
            Some("tasks") => {
                let record = serde_json::from_slice(&entry.value).unwrap();
                self.tasks.insert(name.parse().unwrap(), record);
            }
            Some("allocations") => {
                let allocation = serde_json::from_slice(&entry.value).unwrap();
                self.allocations.insert(name.parse().unwrap(), allocation);
            }
            _ => {}
        }
    }

    fn delete(&mut self, key: &vfioctl_store::Key) {
        let name = key.last_word();
        match key.as_str().split('/').next() {
            Some("tasks") => drop(self.tasks.remove(&name.parse().unwrap())),
            Some("allocations") => drop(self.allocations.remove(&name.parse().unwrap())),
            _ => {}
        }
    }

    /// What must hold after every change.
    fn check(&self) -> Result<(), String> {
        let mut held: BTreeSet<&TaskId> = BTreeSet::new();
        for (node, allocation) in &self.allocations {
            check_gpus(node, allocation)?;
            for id in allocation.shares.keys() {
                let record = self
                    .tasks
                    .get(id)
                    .ok_or(format!("node {node} holds room for {id}, which is unknown"))?;
                let is_its_own =
                    record.task.state.holds_room() && record.task.node.as_ref() == Some(node);
                if !is_its_own {
                    return Err(format!(
                        "node {node} holds room for {id}, which is {}",
                        record.task.state
                    ));
                }
                held.insert(id);
            }
        }
        for (id, record) in &self.tasks {
            if record.task.state.holds_room() && !held.contains(id) {
                return Err(format!(
                    "task {id} is {} and holds no room",
                    record.task.state
                ));
            }
        }
        Ok(())
    }
}

/// No GPU with two owners.
fn check_gpus(node: &NodeName, allocation: &Allocation) -> Result<(), String> {
    let shares: Vec<_> = allocation.shares.iter().collect();
    for (index, (one, share)) in shares.iter().enumerate() {
        for (other, other_share) in shares.iter().skip(index + 1) {
            let (mine, theirs) = (
                reach(&share.gpus, share.gpu_use),
                reach(&other_share.gpus, other_share.gpu_use),
            );
            let plain: BTreeSet<_> = share.gpus.iter().collect();
            let both_share = share.gpu_use == Use::Shared && other_share.gpu_use == Use::Shared;
            let overlap = mine.intersection(&theirs).next();
            let direct = other_share.gpus.iter().any(|gpu| plain.contains(gpu));
            if (overlap.is_some() || direct) && !both_share {
                return Err(format!("node {node}: {one} and {other} have one GPU"));
            }
        }
    }
    Ok(())
}

/// What a task keeps others from: a machine, what cannot be kept apart too.
fn reach(gpus: &[GpuNumber], gpu_use: Use) -> BTreeSet<GpuNumber> {
    let mut reach: BTreeSet<GpuNumber> = gpus.iter().copied().collect();
    if gpu_use == Use::Machine {
        reach.extend(gpus.iter().flat_map(|gpu| together(*gpu)));
    }
    reach
}

/// Looks at every change for as long as it runs.
pub(crate) async fn inspect(store: MemoryStore, truth: Truth, is_told: bool) {
    let start = tokio::time::Instant::now();
    let mut seen = Seen::default();
    let mut watch = store.watch(&Prefix::all(), 0).await.unwrap();
    while let Ok(batch) = watch.next().await {
        for change in &batch.changes {
            if is_told {
                tell(start.elapsed(), batch.revision, change);
            }
            match change {
                WatchedChange::Put(entry) => seen.put(entry),
                WatchedChange::Deleted(key) => seen.delete(key),
            }
        }
        if let Err(problem) = seen.check() {
            truth.violation(format!("at revision {}: {problem}", batch.revision));
            return;
        }
    }
    truth.violation("the inspector could not follow the store".into());
}

/// Tells a change, for whoever looks at one seed.
fn tell(after: std::time::Duration, revision: u64, change: &WatchedChange) {
    let text = match change {
        WatchedChange::Put(entry) => match serde_json::from_slice::<Record>(&entry.value) {
            Ok(record) => {
                let task = &record.task;
                let node = task
                    .node
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                format!(
                    "{} on '{node}' run {} wanted {:?} by {:?}: {:?}",
                    task.state, task.run, record.wanted, record.runner, task.reason
                )
            }
            Err(_) => "put".to_owned(),
        },
        WatchedChange::Deleted(_) => "deleted".to_owned(),
    };
    eprintln!(
        "{:9.3} r{revision} {}: {text}",
        after.as_secs_f64(),
        change.key()
    );
}

/// After a long quiet: what hosts say is what is.
pub(crate) async fn inspect_at_end(
    store: &MemoryStore,
    truth: &Truth,
    known: &BTreeMap<TaskId, bool>,
) -> Vec<String> {
    let mut seen = Seen::default();
    for entry in &store.list(&Prefix::all()).await.unwrap().entries {
        seen.put(entry);
    }
    let mut problems = Vec::new();
    problems.extend(seen.check().err());
    for (id, is_removed) in known {
        if !is_removed && !seen.tasks.contains_key(id) {
            problems.push(format!("task {id} was taken, and nobody knows of it"));
        }
    }
    let mut truth = truth.lock();
    let now = tokio::time::Instant::now();
    for node in truth.nodes.values_mut() {
        node.advance(now);
    }
    for (id, record) in &seen.tasks {
        let state = record.task.state;
        let run = (id.clone(), record.task.run);
        let on_node = record
            .task
            .node
            .as_ref()
            .and_then(|node| truth.nodes.get(node));
        let runs =
            on_node.is_some_and(|node| node.runs.get(&run).is_some_and(|run| !run.has_ended));
        match state {
            TaskState::Running if !runs => {
                problems.push(format!("task {id} is running and does not run"))
            }
            TaskState::Running | TaskState::Queued => {}
            state if state.is_over() => {
                if record.wanted == Wanted::Remove {
                    problems.push(format!("task {id} is {state}, and is still being removed"));
                }
            }
            state => problems.push(format!(
                "task {id} is still {state}: {:?}",
                record.task.reason
            )),
        }
    }
    for (name, node) in &truth.nodes {
        for ((id, number), run) in &node.runs {
            let record = seen.tasks.get(id);
            let is_known = record.is_some_and(|record| {
                record.task.node.as_ref() == Some(name)
                    && record.task.run == *number
                    && record.task.state == TaskState::Running
            });
            if !is_known {
                let state = record.map(|record| record.task.state);
                problems.push(format!(
                    "run {number} of {id} is on {name} ({run:?}), and hosts say {state:?}"
                ));
            }
        }
        for (id, number) in node
            .claims
            .keys()
            .filter(|key| !node.runs.contains_key(*key))
        {
            problems.push(format!(
                "run {number} of {id} holds GPUs of {name} and does not run"
            ));
        }
        for id in node
            .remains
            .iter()
            .filter(|id| !seen.tasks.contains_key(*id))
        {
            problems.push(format!(
                "task {id} is forgotten, and something of it is left on {name}"
            ));
        }
    }
    problems
}
