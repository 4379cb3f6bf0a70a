//! GPUs, with what only the node itself needs to know of them.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use vfioctl_api::{Gpu, GpuTelemetry};

use super::Gpus;

/// A GPU, with what only the node itself needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuDetail {
    /// What the cluster is told.
    pub gpu: Gpu,
    /// The device nodes through which programs use it, as they are now; none while its own driver
    /// does not have it.
    pub nodes: DeviceNodes,
}

/// Device nodes of a GPU. They are numbered by the order in which drivers came, so they are looked up
/// each time, by where the GPU sits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceNodes {
    /// `/dev/dri/cardN`.
    pub card: Option<PathBuf>,
    /// `/dev/dri/renderDN`.
    pub render: Option<PathBuf>,
    /// `/dev/nvidiaN`.
    pub nvidia: Option<PathBuf>,
    /// Nodes that all GPUs of its maker share: `/dev/kfd`.
    pub shared: Vec<PathBuf>,
}

impl DeviceNodes {
    /// All of them.
    pub fn all(&self) -> Vec<PathBuf> {
        let own = [&self.card, &self.render, &self.nvidia]
            .into_iter()
            .flatten();
        own.chain(&self.shared).cloned().collect()
    }
}

/// That this runner leaves a GPU alone, for as long as this lives.
#[must_use = "the GPU is let go for as long as this lives"]
pub struct LetGo(
    #[expect(dead_code, reason = "it is there to be dropped")] Option<Box<dyn Any + Send + Sync>>,
);

impl LetGo {
    /// There was nothing to let go of.
    pub fn nothing() -> Self {
        Self(None)
    }

    /// What is held for as long as this lives.
    pub fn of(held: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(held)))
    }
}

impl fmt::Debug for LetGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LetGo")
    }
}

/// No GPUs at all: for a node that has none to give.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGpus;

#[async_trait]
impl Gpus for NoGpus {
    async fn look(&self) -> Vec<GpuDetail> {
        Vec::new()
    }

    async fn telemetry(&self) -> Vec<GpuTelemetry> {
        Vec::new()
    }
}
