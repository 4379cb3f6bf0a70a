//! How long it takes to place waiting tasks: `place [TASKS] [NODES]`, 1000 of each where nothing is
//! said. Nodes have eight GPUs, and tasks want one each.

#![expect(clippy::disallowed_methods, reason = "a benchmark asks the clock")]

use std::time::Instant;

use vfioctl_api::{GpuRequest, NodeName, NodeReport, Submission, TaskId, UserName};
use vfioctl_scheduler::{Allocation, Demand, Queued, Room, place_all};

const REPORT: &str = r#"{"machine": "m", "boot": "b", "versions": {"runner": "0", "kernel": "6.1", "system": "d"},
    "address": "127.0.0.1", "cores": 64, "memory": 262144, "containers": {"available": true},
    "machines": {"available": true}, "default_machine_memory": 4096, "gpus": []}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().map_or(Ok(1000_u32), |text| text.parse());
    let (tasks, nodes) = (number()?, number()?);
    let owner: UserName = "alice".parse()?;
    let submission: Submission = serde_json::from_str(
        r#"{"kind": "command", "backend": {"container": {"command": ["true"]}}, "gpus": {"count": 1}}"#,
    )?;
    let mut report: NodeReport = serde_json::from_str(REPORT)?;
    for gpu in 0..8 {
        let text = format!(
            r#"{{"number": {gpu}, "present": true, "address": "0000:0{gpu}:00.0", "path": "p", "vendor": "nvidia",
            "id": "10de:2684", "name": "GeForce RTX 4090", "vfio": {{"available": true}}, "containers": {{"available": true}}}}"#
        );
        report.gpus.push(serde_json::from_str(&text)?);
    }
    let make = |index: u32| -> Result<Room, Box<dyn std::error::Error>> {
        let name: NodeName = format!("node-{index}").parse()?;
        Ok(Room::new(
            &name,
            &report,
            &Allocation::default(),
            true,
            false,
        ))
    };
    let mut rooms = (0..nodes).map(make).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<TaskId> = (0..tasks).map(|index| TaskId::new(1, index)).collect();
    let mut described = submission.clone();
    described.gpus = Some(GpuRequest {
        count: 1,
        model: Some("4090".into()),
        memory_min: None,
    });
    let queue = ids.iter().map(|id| Queued {
        id,
        owner: &owner,
        demand: Demand::of(&described),
        not_before: 0,
    });
    let start = Instant::now();
    let decisions = place_all(&mut rooms, queue, 0);
    let taken = start.elapsed();
    let placed = decisions
        .iter()
        .filter(|(_, decision)| decision.is_ok())
        .count();
    println!(
        "{placed} of {tasks} tasks placed on {nodes} nodes in {:.1} ms",
        taken.as_secs_f64() * 1e3
    );
    Ok(())
}
