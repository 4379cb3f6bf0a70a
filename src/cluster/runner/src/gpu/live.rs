//! The live GPUs: what may wait, and for how long.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use vfioctl_api::{GpuNumber, GpuTelemetry};
use vfioctl_scan::SysRoot;

use super::looker::Looker;
use super::nvml::{Last, Nvml};
use super::one_at_a_time::OneAtATime;
use crate::limits::{GPU_LOOK, GPU_SENSORS, NVML_FIRST_PATIENCE, NVML_PATIENCE};
use crate::node::{GpuDetail, Gpus, LetGo};

/// What live GPUs are made of.
#[derive(Debug)]
pub struct Parts {
    /// Where they are looked at.
    pub root: SysRoot,
    /// The helper's socket.
    pub helper: PathBuf,
    /// The folder in which their numbers are kept.
    pub data: PathBuf,
    /// Whether numbers may be given, or why not. One program does at a time: whoever holds the folder's
    /// lock.
    pub may_number: Result<(), String>,
    /// This program, which is started again to read NVML.
    pub program: PathBuf,
    /// NVML, where it is not the system's.
    pub nvml: Option<PathBuf>,
}

/// The GPUs of this machine.
#[derive(Debug)]
pub struct LiveGpus {
    looker: Arc<Looker>,
    looks: OneAtATime,
    reads: OneAtATime,
    nvml: Nvml,
}

impl LiveGpus {
    /// The GPUs of this machine, with the numbers that they have.
    ///
    /// # Errors
    /// Where the file with the numbers cannot be read, as a sentence.
    pub fn open(parts: Parts) -> Result<Self, String> {
        let Parts {
            root,
            helper,
            data,
            may_number,
            program,
            nvml,
        } = parts;
        Ok(Self {
            looker: Arc::new(Looker::open(root, helper, &data, may_number)?),
            looks: OneAtATime::default(),
            reads: OneAtATime::default(),
            nvml: Nvml::new(program, nvml),
        })
    }

    /// What has come of readings of NVML so far.
    pub(super) fn last_of_nvml(&self) -> Arc<Last> {
        self.nvml.last()
    }

    async fn look_once(&self) -> Vec<GpuDetail> {
        let looker = Arc::clone(&self.looker);
        match self.looks.run(GPU_LOOK, move || looker.look()).await {
            Some(details) => details,
            None => self.looker.look_hangs(),
        }
    }

    /// Reads NVML where it is time to; whether that has told of a GPU what was not known.
    async fn read_nvml(&self, patience: Duration) -> bool {
        let asked = self.looker.ask_nvml();
        let last = self.nvml.read(&asked, patience).await;
        self.looker.take_readings(last.readings())
    }
}

#[async_trait]
impl Gpus for LiveGpus {
    async fn look(&self) -> Vec<GpuDetail> {
        let details = self.look_once().await;
        // What only NVML knows is waited for, so that nobody meets a GPU without its memory.
        if self.looker.lacks_readings() && self.read_nvml(NVML_FIRST_PATIENCE).await {
            return self.look_once().await;
        }
        details
    }

    /// Of the GPUs that the last look has seen; a heartbeat waits for this, so it looks for no others.
    async fn telemetry(&self) -> Vec<GpuTelemetry> {
        let looker = Arc::clone(&self.looker);
        let sensors = move || looker.read_sensors(Instant::now());
        let mut telemetry = self
            .reads
            .run(GPU_SENSORS, sensors)
            .await
            .unwrap_or_default();
        self.read_nvml(NVML_PATIENCE).await;
        telemetry.extend(self.looker.telemetry_of(self.nvml.last().readings()));
        telemetry.sort_by_key(|gpu| gpu.number);
        telemetry
    }

    async fn problems(&self) -> Vec<String> {
        self.looker.problems(&self.nvml.last())
    }

    /// Nothing but NVML has GPUs open here. It opens others too while it looks for one, so it is left
    /// alone whichever GPU is wanted.
    async fn let_go(&self, _: GpuNumber) -> Result<LetGo, String> {
        self.nvml.let_go().await.map(LetGo::of)
    }
}
