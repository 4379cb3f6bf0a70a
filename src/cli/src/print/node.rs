//! `vfioctl node` for people.

mod status;

use vfioctl_api::MemorySize;

use super::gpu::fares_text;
use super::list::or_none;
use super::moment;
use crate::output::Answered;
use crate::record::{
    CapabilityRecord, GpuRecord, GpuStateKind, InvitationRecord, NodeLayout, NodeRecord,
    NodesRecord, SummaryRecord,
};
use crate::table::Table;
use crate::width::plain;

impl Answered for NodesRecord {
    fn text(&self) -> String {
        match self {
            Self::One { node, layout } => match layout {
                NodeLayout::Room => status::status_text(node),
                NodeLayout::Health => health_text(std::slice::from_ref(&**node)),
                NodeLayout::Drained => drained_text(node),
            },
            Self::Many { nodes, layout } => match layout {
                NodeLayout::Health => health_text(nodes),
                NodeLayout::Room | NodeLayout::Drained => nodes_text(nodes),
            },
            Self::Summary { summary } => summary_text(summary),
            Self::Invitation { invitation } => invitation_text(invitation),
            Self::Removed { removed } => format!("removed: {}\n", plain(removed)),
        }
    }
}

impl NodeRecord {
    /// Whether it is there, and takes new work.
    fn standing(&self) -> String {
        match self.drained {
            true => format!("{}, drained", self.state),
            false => self.state.to_owned(),
        }
    }

    /// What is not well with it, as sentences.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.state == "offline" {
            problems.push("it has not been heard of lately".to_owned());
        }
        let reported = self.report.iter().flat_map(|report| &report.problems);
        problems.extend(reported.cloned());
        problems
    }
}

fn mib(mib: u64) -> String {
    MemorySize::from_mib(mib).to_string()
}

fn yes_or_no(capability: Option<&CapabilityRecord>) -> String {
    or_none(capability.map(|capability| if capability.available { "yes" } else { "no" }.to_owned()))
}

fn nodes_text(nodes: &[NodeRecord]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let mut table = Table::titled(&[
        "NODE",
        "STATE",
        "CORES",
        "MEMORY",
        "GPUS",
        "TASKS",
        "CONTAINERS",
        "MACHINES",
        "HEARD",
    ]);
    for node in nodes {
        let report = node.report.as_ref();
        let present: Vec<&GpuRecord> = node.gpus.iter().filter(|gpu| gpu.present).collect();
        let free = present
            .iter()
            .filter(|gpu| gpu.state.kind == GpuStateKind::Free)
            .count();
        let gpus = match (present.len(), node.state) {
            (0, _) => "-".to_owned(),
            (all, "online") => format!("{free} of {all} free"),
            (all, _) => all.to_string(),
        };
        table.row([
            node.name.clone(),
            node.standing(),
            or_none(report.map(|report| format!("{}/{}", node.cores_taken, report.cores))),
            or_none(report.map(|report| taken(node.memory_taken_mib, report.memory_mib))),
            gpus,
            node.tasks.len().to_string(),
            yes_or_no(report.map(|report| &report.containers)),
            yes_or_no(report.map(|report| &report.machines)),
            or_none(node.heard.map(moment)),
        ]);
    }
    table.text("")
}

/// A size that is measured, not chosen: nobody needs the last digits of a large one.
fn about(size: u64) -> String {
    match size >= 10 * 1024 {
        true => format!("{} GiB", size / 1024),
        false => mib(size),
    }
}

/// How much is taken of how much, in one unit.
fn taken(part: u64, whole: u64) -> String {
    match whole >= 10 * 1024 {
        true => format!("{}/{} GiB", part.div_ceil(1024), whole / 1024),
        false => format!("{part}/{whole} MiB"),
    }
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("  {}\n", plain(&line))).collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!("\n{title}\n{}", lines.concat()),
    }
}

fn health_text(nodes: &[NodeRecord]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let mut table = Table::titled(&[
        "NODE",
        "STATE",
        "PROCESSORS",
        "MEMORY",
        "DISK FREE",
        "PROBLEMS",
    ]);
    for node in nodes {
        let fares = node.telemetry.as_ref();
        let all = node.report.as_ref().map_or(0, |report| report.memory_mib);
        table.row([
            node.name.clone(),
            node.standing(),
            or_none(fares.map(|fares| format!("{}% busy", fares.processor_percent))),
            or_none(fares.map(|fares| taken(fares.memory_used_mib, all))),
            or_none(fares.map(|fares| about(fares.disk_free_mib))),
            or_none(
                Some(node.problems().len())
                    .filter(|count| *count > 0)
                    .map(|count| count.to_string()),
            ),
        ]);
    }
    let mut text = table.text("");
    for node in nodes {
        if !node.gpus.is_empty() && node.telemetry.is_some() {
            text.push_str(&format!(
                "\nGPUs of {}\n{}",
                plain(&node.name),
                fares_text(&node.gpus, "  ")
            ));
        }
    }
    for node in nodes {
        let title = format!("problems of {}", plain(&node.name));
        text.push_str(&section(&title, node.problems().into_iter()));
    }
    text
}

fn drained_text(node: &NodeRecord) -> String {
    let tasks = match node.tasks.len() {
        0 => "nothing runs there".to_owned(),
        1 => "1 task holds room there".to_owned(),
        many => format!("{many} tasks hold room there"),
    };
    let name = plain(&node.name);
    match node.drained {
        true => format!("{name} is drained: nothing new is placed there; {tasks}\n"),
        false => format!("{name} takes new work; {tasks}\n"),
    }
}

fn summary_text(summary: &SummaryRecord) -> String {
    let mut table = Table::default();
    table.row([
        "nodes",
        &format!("{} of {} online", summary.nodes_online, summary.nodes),
    ]);
    table.row([
        "cores",
        &format!("{} of {} taken", summary.cores_taken, summary.cores),
    ]);
    table.row([
        "memory",
        &format!(
            "{} of {} taken",
            mib(summary.memory_taken_mib),
            mib(summary.memory_mib)
        ),
    ]);
    let known = summary.gpus_free + summary.gpus_in_containers + summary.gpus_in_machines;
    let others = summary.gpus.saturating_sub(known);
    let gpus = format!(
        "{}: {} free, {} in containers, {} in machines, {others} held or reserved",
        summary.gpus, summary.gpus_free, summary.gpus_in_containers, summary.gpus_in_machines
    );
    table.row(["GPUs", &gpus]);
    let tasks: Vec<String> = summary
        .tasks
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    table.row([
        "tasks",
        &or_none(Some(tasks.join(", ")).filter(|text| !text.is_empty())),
    ]);
    table.text("")
}

fn invitation_text(invitation: &InvitationRecord) -> String {
    format!("{}\n", plain(&invitation.command))
}

#[cfg(test)]
mod tests;
