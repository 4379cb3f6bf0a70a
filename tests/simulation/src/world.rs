//! A node that is made up: its engine starts what the truth then has, and fails as engines do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use vfioctl_api::{
    Capability, Exit, Gpu, Kind, LogOrder, MemorySize, NodeName, NodeReport, Order, Telemetry,
    Vendor, Versions, VmImage,
};
use vfioctl_runner::link::Bytes;
use vfioctl_runner::world::{Backend, Begin, Found, Running, StartError, Unknown, World};
use vfioctl_scheduler::Use;

use crate::chance::Chance;
use crate::faults::FaultsNow;
use crate::truth::{Run, RunKey, Truth, together};

/// GPUs of every node.
pub(crate) const GPUS: u16 = 4;

/// A node that is made up.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedNode {
    pub(crate) node: NodeName,
    pub(crate) truth: Truth,
    pub(crate) chance: Chance,
    pub(crate) faults: FaultsNow,
}

impl SimulatedNode {
    async fn ask(&self) -> Result<(), Unknown> {
        tokio::time::sleep(self.chance.time(20)).await;
        match self.chance.in_thousand(self.faults.get().engine_unknown) {
            true => Err(Unknown("the engine does not answer (simulated)".into())),
            false => Ok(()),
        }
    }

    fn found(&self, key: &RunKey) -> Found {
        let mut truth = self.truth.lock();
        let node = truth.node(&self.node);
        node.advance(Instant::now());
        match node.runs.get(key) {
            Some(run) if run.has_ended => Found::Ended(Exit {
                status: run.status,
                out_of_memory: run.status == 137,
            }),
            Some(_) => Found::Running,
            None => Found::Absent,
        }
    }

    fn fails(&self) -> bool {
        self.chance.in_thousand(self.faults.get().start_fails)
    }
}

fn key(order: &Order) -> RunKey {
    (order.task.clone(), order.run)
}

#[async_trait]
impl World for SimulatedNode {
    async fn report(&self) -> NodeReport {
        let taken = self.truth.lock().node(&self.node).taken_by_hand.clone();
        let gpu = |number: u16| {
            let is_taken = taken.contains(&number.into());
            let capability = match is_taken {
                true => Capability::no("user 'ann' of the node has it"),
                false => Capability::yes(),
            };
            Gpu {
                number: number.into(),
                present: true,
                address: format!("0000:{:02x}:00.0", number + 1),
                path: format!("pci0000:00/{number:02x}.0/00.0"),
                vendor: Vendor::Nvidia,
                id: "10de:2684".into(),
                name: "simulated".into(),
                uuid: None,
                memory_mib: Some(24 * 1024),
                driver: Some("nvidia".into()),
                numa: None,
                iommu_group: None,
                functions: Vec::new(),
                together: together(number.into()),
                vfio: capability.clone(),
                containers: capability,
                holders: Vec::new(),
            }
        };
        NodeReport {
            machine: self.node.to_string(),
            boot: "b".into(),
            versions: Versions::default(),
            address: "127.0.0.1".into(),
            cores: 16,
            memory: MemorySize::from_mib(64 * 1024),
            numa: Vec::new(),
            gpus: (0..GPUS).map(gpu).collect(),
            containers: Capability::yes(),
            machines: Capability::yes(),
            images: vec![VmImage {
                name: "debian-12".parse().unwrap(),
                virtual_bytes: 1,
                bytes: 1,
            }],
            default_image: "debian-12".parse().ok(),
            default_machine_memory: MemorySize::from_mib(4096),
            problems: Vec::new(),
        }
    }

    async fn telemetry(&self) -> Telemetry {
        Telemetry::default()
    }

    fn backend(&self, _: &Order) -> Arc<dyn Backend> {
        Arc::new(self.clone())
    }

    async fn read_log(&self, _: &LogOrder) -> Result<Bytes, String> {
        Err("simulated nodes write no logs".into())
    }
}

#[async_trait]
impl Backend for SimulatedNode {
    async fn start(&self, order: &Order, begin: &Begin) -> Result<(), StartError> {
        let key = key(order);
        tokio::time::sleep(self.chance.time(500)).await;
        let gpu_use = Use::of(order.submission.is_machine(), order.submission.gpu_mode);
        let claimed = self
            .truth
            .lock()
            .node(&self.node)
            .claim(&key, &order.gpus, gpu_use);
        claimed.map_err(StartError::not_now)?;
        if self.fails() {
            self.truth.lock().node(&self.node).claims.remove(&key);
            return Err(StartError::not_now("it cannot be made ready (simulated)"));
        }
        begin.tell("halfway");
        tokio::time::sleep(self.chance.time(500)).await;
        if let Err(error) = begin.begin().await {
            self.truth.lock().node(&self.node).claims.remove(&key);
            return Err(error);
        }
        tokio::time::sleep(self.chance.time(50)).await;
        if self.fails() {
            self.truth.lock().node(&self.node).claims.remove(&key);
            return Err(StartError::not_now("the engine refuses (simulated)"));
        }
        let ends = match order.submission.kind {
            Kind::Command => Some(Instant::now() + self.chance.time(30_000)),
            // Some servers power themselves off.
            Kind::Vps => self
                .chance
                .in_thousand(200)
                .then(|| Instant::now() + self.chance.time(60_000)),
        };
        let status = *self.chance.pick(&[0, 0, 0, 1, 137]).unwrap_or(&0);
        let run = Run {
            ends,
            status,
            has_ended: false,
        };
        self.truth
            .lock()
            .begin(&self.node, &key, order.submission.kind, run);
        match self.fails() {
            // It has begun, and nobody was told.
            true => Err(StartError::Unknown(
                "the engine's answer is lost (simulated)".into(),
            )),
            false => Ok(()),
        }
    }

    async fn find(&self, order: &Order) -> Result<Found, Unknown> {
        self.ask().await?;
        Ok(self.found(&key(order)))
    }

    async fn wait(&self, order: &Order, running: &Running) -> Result<Found, Unknown> {
        running.tell(None, None);
        loop {
            self.ask().await?;
            match self.found(&key(order)) {
                Found::Running => tokio::time::sleep(Duration::from_millis(200)).await,
                found => return Ok(found),
            }
        }
    }

    async fn end(&self, order: &Order, at_once: bool) -> Result<(), Unknown> {
        self.ask().await?;
        if !at_once {
            tokio::time::sleep(self.chance.time(5000)).await;
        }
        let mut truth = self.truth.lock();
        if let Some(run) = truth.node(&self.node).runs.get_mut(&key(order)) {
            run.has_ended = true;
        }
        Ok(())
    }

    async fn settle(&self, order: &Order) -> Result<(), Unknown> {
        self.ask().await?;
        let mut truth = self.truth.lock();
        let node = truth.node(&self.node);
        node.claims.remove(&key(order));
        node.runs.remove(&key(order));
        Ok(())
    }

    async fn remove(&self, order: &Order) -> Result<(), Unknown> {
        self.ask().await?;
        let mut truth = self.truth.lock();
        let node = truth.node(&self.node);
        let going: Vec<RunKey> = node
            .runs
            .keys()
            .filter(|(task, _)| *task == order.task)
            .cloned()
            .collect();
        for key in going {
            node.runs.remove(&key);
            node.claims.remove(&key);
        }
        node.remains.remove(&order.task);
        Ok(())
    }
}
