//! The live node: reads what this machine is and how it fares.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use vfioctl_api::{LogOrder, MemorySize, NodeReport, NumaNode, Order, Telemetry, Versions};
use vfioctl_scan::{
    ProcessorTimes, SysRoot, count_list, read_boot_id, read_memory, read_numa,
    read_processor_count, read_processor_times, read_system_names,
};

use super::{Gpus, Side, SideReport};
use crate::link::Bytes;
use crate::world::{Backend, World};

/// What a live node is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where it looks.
    pub root: SysRoot,
    /// Its GPUs.
    pub gpus: Arc<dyn Gpus>,
    /// What runs containers.
    pub containers: Arc<dyn Side>,
    /// What runs machines.
    pub machines: Arc<dyn Side>,
    /// Address that its servers are reached at.
    pub address: String,
    /// Memory that machines get where none is named.
    pub default_machine_memory: MemorySize,
    /// Where what work writes is kept.
    pub data: PathBuf,
    /// What was not well when the runner started, as sentences.
    pub problems: Vec<String>,
}

/// This machine.
#[derive(Debug)]
pub struct LiveNode {
    parts: Parts,
    /// Processor times of the look before.
    times: Mutex<ProcessorTimes>,
}

impl LiveNode {
    /// This machine, of these parts.
    pub fn new(parts: Parts) -> Self {
        let times = read_processor_times(&parts.root).unwrap_or_default();
        Self {
            parts,
            times: Mutex::new(times),
        }
    }

    /// How busy processors were since the look before, in percent.
    fn processor_percent(&self) -> u32 {
        let now = read_processor_times(&self.parts.root).unwrap_or_default();
        let mut before = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = now.busy.saturating_sub(before.busy);
        let all = now.all.saturating_sub(before.all);
        *before = now;
        let percent = (busy * 100).checked_div(all).unwrap_or_default();
        u32::try_from(percent.min(100)).unwrap_or(100)
    }

    fn numa(&self) -> Vec<NumaNode> {
        let nodes = read_numa(&self.parts.root).unwrap_or_default();
        if nodes.len() < 2 {
            return Vec::new();
        }
        let nodes = nodes.into_iter().map(|node| NumaNode {
            number: node.number,
            cores: count_list(&node.processors),
            processors: node.processors,
            memory: mib(node.memory_kib),
        });
        nodes.collect()
    }
}

fn mib(kib: u64) -> MemorySize {
    MemorySize::from_mib(kib / 1024)
}

#[async_trait]
impl World for LiveNode {
    async fn report(&self) -> NodeReport {
        let root = &self.parts.root;
        let gpus = self.parts.gpus.look().await;
        let containers = self.parts.containers.look().await;
        let machines = self.parts.machines.look().await;
        let names = read_system_names(root);
        let mut problems = self.parts.problems.clone();
        problems.extend(self.parts.gpus.problems().await);
        problems.extend(containers.problems.iter().cloned());
        problems.extend(machines.problems.iter().cloned());
        let SideReport {
            images,
            default_image,
            helper,
            qemu,
            ..
        } = machines;
        NodeReport {
            machine: super::machine_name(names.machine_id.as_deref()),
            boot: read_boot_id(root).ok().flatten().unwrap_or_default(),
            versions: Versions {
                runner: env!("CARGO_PKG_VERSION").to_owned(),
                helper,
                kernel: names.kernel,
                system: names.system,
                qemu,
                engine: containers.engine,
                nvidia: super::read_nvidia_version(root),
            },
            address: self.parts.address.clone(),
            cores: read_processor_count(root).unwrap_or_default().max(1),
            memory: mib(read_memory(root).unwrap_or_default().total_kib),
            numa: self.numa(),
            gpus: gpus.into_iter().map(|detail| detail.gpu).collect(),
            containers: containers.capability,
            machines: machines.capability,
            images,
            default_image,
            default_machine_memory: self.parts.default_machine_memory,
            problems,
        }
    }

    async fn telemetry(&self) -> Telemetry {
        let memory = read_memory(&self.parts.root).unwrap_or_default();
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Telemetry {
            at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            processor_percent: self.processor_percent(),
            memory_used_mib: memory.total_kib.saturating_sub(memory.available_kib) / 1024,
            disk_free_mib: free_mib(&self.parts.data),
            gpus: self.parts.gpus.telemetry().await,
        }
    }

    fn backend(&self, order: &Order) -> Arc<dyn Backend> {
        match order.submission.is_machine() {
            true => Arc::clone(&self.parts.machines) as Arc<dyn Backend>,
            false => Arc::clone(&self.parts.containers) as Arc<dyn Backend>,
        }
    }

    async fn read_log(&self, order: &LogOrder) -> Result<Bytes, String> {
        for side in [&self.parts.containers, &self.parts.machines] {
            if let Some(bytes) = side.read_log(order).await? {
                return Ok(bytes);
            }
        }
        Err(format!("the node has no log of task '{}'", order.task))
    }
}

/// Free room where a folder lies; 0 where that cannot be told.
fn free_mib(folder: &std::path::Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize) >> 20)
}
