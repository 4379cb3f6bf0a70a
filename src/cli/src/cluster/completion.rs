//! Completion of names in a cluster, where its host answers before somebody notices.

use std::ffi::OsStr;

use clap_complete::CompletionCandidate;
use vfioctl_api::{NodeView, TaskFilter, TaskState};

use super::access::{Named, find_access};
use super::connection::Times;
use super::host::Host;
use super::places::Places;
use crate::command_line::ClusterArgs;
use crate::limits;
use crate::record::TaskRecord;

/// Numbers of tasks that begin with what was typed, each with what it is; and their names.
pub(crate) fn complete_task(typed: &OsStr) -> Vec<CompletionCandidate> {
    let filter = TaskFilter {
        limit: Some(limits::TASKS),
        ..TaskFilter::default()
    };
    let (Some(typed), Some(host)) = (typed.to_str(), host()) else {
        return Vec::new();
    };
    let tasks = host
        .tasks(&filter)
        .map(|page| page.tasks)
        .unwrap_or_default();
    task_candidates(typed, tasks.into_iter().map(TaskRecord::from))
}

/// Names of nodes that begin with what was typed.
pub(crate) fn complete_node(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else {
        return Vec::new();
    };
    let nodes = nodes();
    let matching = nodes
        .iter()
        .filter(|node| node.name.as_str().starts_with(typed));
    matching.map(node_candidate).collect()
}

/// Targets that begin with what was typed: nodes, and behind two colons their GPUs.
pub(crate) fn complete_target(typed: &OsStr) -> Vec<CompletionCandidate> {
    match typed.to_str() {
        Some(typed) => target_candidates(typed, &nodes()),
        None => Vec::new(),
    }
}

/// States of tasks that begin with what was typed.
pub(crate) fn complete_state(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_str().unwrap_or_default();
    let states = TaskState::ALL.into_iter().map(TaskState::name);
    states
        .filter(|name| name.starts_with(typed))
        .map(CompletionCandidate::new)
        .collect()
}

/// The host that a command would ask. What stands on the line that is completed is not known here.
fn host() -> Option<Host> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cluster = ClusterArgs {
        host: variable("VFIOCTL_HOST").and_then(|host| host.to_str()?.parse().ok()),
        authority: variable("VFIOCTL_AUTHORITY").map(Into::into),
        cluster: variable("VFIOCTL_CLUSTER").map(Into::into),
    };
    let named = Named::of(cluster, variable("VFIOCTL_TOKEN")).ok()?;
    let access = find_access(&named, &Places::live()).ok()?;
    Some(Host::new(access, Times::COMPLETION))
}

fn nodes() -> Vec<NodeView> {
    host()
        .and_then(|host| host.nodes().ok())
        .unwrap_or_default()
}

fn node_candidate(node: &NodeView) -> CompletionCandidate {
    CompletionCandidate::new(node.name.as_str()).help(Some(node.state.name().into()))
}

fn task_candidates(
    typed: &str,
    tasks: impl Iterator<Item = TaskRecord>,
) -> Vec<CompletionCandidate> {
    let mut candidates = Vec::new();
    for task in tasks {
        let help = |other: Option<&str>| {
            let words = [other, Some(task.sentence().as_str())]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", ");
            Some(words.into())
        };
        if task.id.starts_with(typed) {
            candidates.push(CompletionCandidate::new(&task.id).help(help(task.name.as_deref())));
        }
        // Only where one was begun: with nothing typed each would stand there twice.
        if let Some(name) = task
            .name
            .as_ref()
            .filter(|name| !typed.is_empty() && name.starts_with(typed))
        {
            candidates.push(CompletionCandidate::new(name).help(help(Some(&task.id))));
        }
    }
    candidates
}

fn target_candidates(typed: &str, nodes: &[NodeView]) -> Vec<CompletionCandidate> {
    let Some((place, gpus)) = typed.split_once("::") else {
        let matching = nodes
            .iter()
            .filter(|node| node.name.as_str().starts_with(typed));
        return matching.map(node_candidate).collect();
    };
    let name = place.split(':').next().unwrap_or_default();
    let Some(node) = nodes.iter().find(|node| node.name.as_str() == name) else {
        return Vec::new();
    };
    // What stands before the last comma is chosen already.
    let chosen = gpus.rsplit_once(',').map_or("", |(chosen, _)| chosen);
    let is_chosen = |number: &str| chosen.split(',').any(|other| other == number);
    let candidates = node.gpus.iter().filter_map(|gpu| {
        let number = gpu.gpu.number.to_string();
        let comma = if chosen.is_empty() { "" } else { "," };
        let target = format!("{place}::{chosen}{comma}{number}");
        let is_wanted = target.starts_with(typed) && !is_chosen(&number);
        is_wanted.then(|| CompletionCandidate::new(target).help(Some(gpu.gpu.name.clone().into())))
    });
    candidates.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_sample::{expected_node, gpu_node, queued, training};

    fn texts(candidates: &[CompletionCandidate]) -> Vec<&str> {
        candidates
            .iter()
            .map(|candidate| candidate.get_value().to_str().unwrap())
            .collect()
    }

    #[test]
    fn a_target_is_completed_from_node_to_gpu() {
        let nodes = [gpu_node(), expected_node()];
        let completed = |typed: &str| -> Vec<String> {
            texts(&target_candidates(typed, &nodes))
                .into_iter()
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(completed("gp"), ["gpu-1", "gpu-3"]);
        assert_eq!(completed("gpu-1::")[..2], ["gpu-1::0", "gpu-1::1"]);
        assert_eq!(
            completed("gpu-1:0::2,5,")[..3],
            ["gpu-1:0::2,5,0", "gpu-1:0::2,5,1", "gpu-1:0::2,5,3"]
        );
        assert_eq!(completed("gpu-1::7"), ["gpu-1::7"]);
        assert!(completed("other::").is_empty());
        assert!(completed("x").is_empty());
    }

    #[test]
    fn a_task_is_completed_by_number_and_by_name() {
        let completed = |typed: &str| -> Vec<String> {
            let tasks = [queued(), training()].into_iter().map(TaskRecord::from);
            texts(&task_candidates(typed, tasks))
                .into_iter()
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(completed(""), ["01jd3k9fffff0", "01jd3k7x9qz4m"]);
        assert_eq!(completed("01jd3k9"), ["01jd3k9fffff0"]);
        assert_eq!(completed("tr"), ["training"]);
        assert_eq!(texts(&complete_state("run".as_ref())), ["running"]);
    }
}
