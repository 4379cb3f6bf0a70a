//! Nodes and GPUs, as they are shown.

use vfioctl_api::{
    GpuUse, GpuView, MemorySize, NodeName, NodeReport, NodeState, NodeView, Problem, ProblemCode,
    Summary, TaskState,
};
use vfioctl_scheduler::Use;
use vfioctl_store::Transaction;

use super::{Cluster, lease_of};
use crate::keys;
use crate::mirror::{Node, State};

impl Cluster {
    /// All nodes.
    pub fn nodes(&self) -> Vec<NodeView> {
        let state = self.mirror.read();
        let known = state.nodes.iter().filter(|(_, node)| is_shown(node));
        known.map(|(name, node)| view(&state, name, node)).collect()
    }

    /// A node.
    ///
    /// # Errors
    /// Where there is none.
    pub fn node(&self, name: &NodeName) -> Result<NodeView, Problem> {
        let state = self.mirror.read();
        let node = state.nodes.get(name).filter(|node| is_shown(node));
        node.map(|node| view(&state, name, node))
            .ok_or_else(|| no_node(name))
    }

    /// All GPUs.
    pub fn gpus(&self) -> Vec<GpuView> {
        let state = self.mirror.read();
        let shown = state.nodes.iter().filter(|(_, node)| is_shown(node));
        shown
            .flat_map(|(name, node)| gpus(&state, name, node, report(node).as_ref()))
            .collect()
    }

    /// The whole cluster in numbers.
    pub fn summary(&self) -> Summary {
        let state = self.mirror.read();
        let mut summary = Summary::default();
        for (name, node) in state.nodes.iter().filter(|(_, node)| is_shown(node)) {
            summary.nodes += 1;
            let Some(report) = report(node).filter(|_| node.alive.is_some()) else {
                continue;
            };
            summary.nodes_online += 1;
            summary.cores += report.cores;
            summary.memory = plus(summary.memory, report.memory.mib());
            for share in node.allocation.value.shares.values() {
                summary.cores_taken += share.cores;
                summary.memory_taken = plus(summary.memory_taken, share.memory_mib);
            }
            for gpu in gpus(&state, name, node, Some(&report))
                .iter()
                .filter(|gpu| gpu.gpu.present)
            {
                summary.gpus += 1;
                let own = || {
                    gpu.uses
                        .iter()
                        .filter(|using| using.reserved_with.is_none())
                };
                if own().any(|using| using.machine) {
                    summary.gpus_in_machines += 1;
                } else if own().next().is_some() {
                    summary.gpus_in_containers += 1;
                } else if gpu.uses.is_empty() && gpu.gpu.holders.is_empty() {
                    summary.gpus_free += 1;
                }
            }
        }
        for state in state.tasks.values().map(|kept| kept.value.task.state) {
            *summary.tasks.entry(state.name().to_owned()).or_default() += 1;
        }
        summary
    }

    /// Places nothing new on a node, or does so again.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn drain(&self, name: &NodeName, drained: bool) -> Result<NodeView, Problem> {
        self.node(name)?;
        let key = keys::drained(name);
        let transaction = match drained {
            true => Transaction::new().put(&key, b"true".to_vec()),
            false => Transaction::new().delete(&key),
        };
        self.write(transaction, &[key]).await?;
        self.node(name)
    }

    /// Removes a node: its certificate is none any more.
    ///
    /// # Errors
    /// Where there is none, or tasks hold room on it.
    pub async fn remove_node(&self, name: &NodeName) -> Result<(), Problem> {
        let (busy, alive) = {
            let state = self.mirror.read();
            let node = state
                .nodes
                .get(name)
                .filter(|node| is_shown(node))
                .ok_or_else(|| no_node(name))?;
            (node.allocation.value.shares.len(), node.alive.clone())
        };
        if busy > 0 {
            let tasks = if busy == 1 {
                "1 task holds".to_owned()
            } else {
                format!("{busy} tasks hold")
            };
            let message = format!("{tasks} room on node '{name}'");
            return Err(Problem::new(ProblemCode::WrongState, message).hint(format!(
                "drain it, and end them: 'vfioctl task list --node {name}'"
            )));
        }
        let keys = [
            keys::node(name),
            keys::report(name),
            keys::drained(name),
            keys::allocation(name),
        ];
        let transaction = keys.iter().fold(Transaction::new(), |transaction, key| {
            transaction.delete(key)
        });
        self.write(transaction, &keys).await?;
        if let Some(alive) = alive {
            let _ = self.store.revoke(lease_of(&alive.value)).await;
            let key = keys::alive(name);
            self.write(Transaction::new().delete(&key), &[key]).await?;
        }
        Ok(())
    }
}

fn plus(size: MemorySize, mib: u64) -> MemorySize {
    MemorySize::from_mib(size.mib().saturating_add(mib))
}

/// Whether a node is one: what was removed leaves traces while tasks of it are known.
fn is_shown(node: &Node) -> bool {
    node.enrolled.is_some()
}

fn view(state: &State, name: &NodeName, node: &Node) -> NodeView {
    let shares = node.allocation.value.shares.values();
    let report = report(node);
    NodeView {
        name: name.clone(),
        state: match (&node.alive, &node.report) {
            (Some(_), _) => NodeState::Online,
            (None, Some(_)) => NodeState::Offline,
            (None, None) => NodeState::Expected,
        },
        drained: node.drained.is_some(),
        heard: node.heard,
        telemetry: node.telemetry.clone().filter(|_| node.alive.is_some()),
        cores_taken: shares.clone().map(|share| share.cores).sum(),
        memory_taken: MemorySize::from_mib(shares.map(|share| share.memory_mib).sum()),
        tasks: node.allocation.value.shares.keys().cloned().collect(),
        gpus: gpus(state, name, node, report.as_ref()),
        report,
    }
}

fn report(node: &Node) -> Option<NodeReport> {
    node.report.as_ref().and_then(|report| report.value.read())
}

fn gpus(state: &State, name: &NodeName, node: &Node, report: Option<&NodeReport>) -> Vec<GpuView> {
    let Some(report) = report else {
        return Vec::new();
    };
    let telemetry = node.telemetry.as_ref().filter(|_| node.alive.is_some());
    let gpus = report.gpus.iter().map(|gpu| GpuView {
        node: name.clone(),
        gpu: gpu.clone(),
        telemetry: telemetry
            .and_then(|telemetry| telemetry.gpus.iter().find(|of| of.number == gpu.number))
            .cloned(),
        uses: uses(state, node, gpu),
    });
    gpus.collect()
}

/// The tasks that have a GPU, or what cannot be kept apart from it.
fn uses(state: &State, node: &Node, gpu: &vfioctl_api::Gpu) -> Vec<GpuUse> {
    let mut uses = Vec::new();
    for (id, share) in &node.allocation.value.shares {
        let is_going = state
            .tasks
            .get(id)
            .is_some_and(|kept| kept.value.task.state != TaskState::Queued);
        if !is_going {
            continue;
        }
        let reserved_with = if share.gpus.contains(&gpu.number) {
            None
        } else {
            match share.gpus.iter().find(|taken| gpu.together.contains(taken)) {
                Some(taken) => Some(*taken),
                None => continue,
            }
        };
        uses.push(GpuUse {
            task: id.clone(),
            owner: share.owner.clone(),
            machine: share.gpu_use == Use::Machine,
            exclusive: share.gpu_use != Use::Shared,
            reserved_with,
        });
    }
    uses
}

fn no_node(name: &NodeName) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("there is no node '{name}'"))
        .hint("see 'vfioctl node list'")
}
