//! Placing: how long it takes to decide where waiting tasks go. Nodes have eight GPUs, and tasks want
//! one each, by a part of its model's name.

use std::time::{Duration, Instant};

use vfioctl_api::{GpuRequest, NodeName, NodeReport, Submission, TaskId, UserName};
use vfioctl_scheduler::{Allocation, Demand, Queued, Room, place_all};

use crate::Result;

const GPUS: u32 = 8;
const REPORT: &str = r#"{"machine": "m", "boot": "b", "versions": {"runner": "0", "kernel": "6.1", "system": "d"},
    "address": "127.0.0.1", "cores": 64, "memory": 262144, "containers": {"available": true},
    "machines": {"available": true}, "default_machine_memory": 4096, "gpus": []}"#;
const SUBMISSION: &str = r#"{"kind": "command", "backend": {"container": {"command": ["true"]}}}"#;

fn text(error: impl std::fmt::Display) -> String {
    format!("what is to be placed is not understood: {error}")
}

/// How long it takes to place so many tasks on so many nodes.
pub(super) fn place(tasks: u32, nodes: u32) -> Result<Duration> {
    let owner: UserName = "alice".parse().map_err(text)?;
    let mut submission: Submission = serde_json::from_str(SUBMISSION).map_err(text)?;
    submission.gpus = Some(GpuRequest {
        count: 1,
        model: Some("4090".into()),
        memory_min: None,
    });
    let mut rooms = rooms(nodes)?;
    let ids: Vec<TaskId> = (0..tasks).map(|index| TaskId::new(1, index)).collect();
    let start = Instant::now();
    let queue = ids.iter().map(|id| Queued {
        id,
        owner: &owner,
        demand: Demand::of(&submission),
        not_before: 0,
    });
    let decisions = place_all(&mut rooms, queue, 0);
    let taken = start.elapsed();
    let placed = decisions
        .iter()
        .filter(|(_, decision)| decision.is_ok())
        .count();
    match placed == ids.len() {
        true => Ok(taken),
        false => Err(format!("{placed} of {tasks} tasks were placed")),
    }
}

fn rooms(nodes: u32) -> Result<Vec<Room>> {
    let mut report: NodeReport = serde_json::from_str(REPORT).map_err(text)?;
    for gpu in 0..GPUS {
        let gpu = format!(
            r#"{{"number": {gpu}, "present": true, "address": "0000:0{gpu}:00.0", "path": "p", "vendor": "nvidia",
            "id": "10de:2684", "name": "GeForce RTX 4090", "vfio": {{"available": true}}, "containers": {{"available": true}}}}"#
        );
        report.gpus.push(serde_json::from_str(&gpu).map_err(text)?);
    }
    let room = |index: u32| {
        let name: NodeName = format!("node-{index}").parse().map_err(text)?;
        Ok(Room::new(
            &name,
            &report,
            &Allocation::default(),
            true,
            false,
        ))
    };
    (0..nodes).map(room).collect()
}
