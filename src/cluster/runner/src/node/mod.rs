//! The node: this machine, as the agent sees it.
//!
//! What containers and machines are run by, and which GPUs there are, are parts of their own, each
//! behind a small trait: a node without an engine has containers that say so.

mod absent;
mod gpu;
mod live;

use std::fmt;

use async_trait::async_trait;
use vfioctl_api::{Capability, Engine, GpuNumber, GpuTelemetry, ImageName, LogOrder, VmImage};

use crate::link::Bytes;
use crate::world::Backend;

pub use absent::Absent;
pub use gpu::{DeviceNodes, GpuDetail, LetGo, NoGpus};
pub use live::{LiveNode, Parts};

/// The GPUs of a node.
#[async_trait]
pub trait Gpus: Send + Sync + fmt::Debug {
    /// Every GPU, as it is now, in the order of their numbers.
    async fn look(&self) -> Vec<GpuDetail>;

    /// How the GPUs fare.
    async fn telemetry(&self) -> Vec<GpuTelemetry>;

    /// What is not well with them, as sentences.
    async fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// Lets go of a GPU, so that its driver can: to be called before the helper is asked to take it. What
    /// this gives has to live until it is taken.
    ///
    /// # Errors
    /// Where something of this runner's keeps the GPU open and does not end, as a sentence.
    async fn let_go(&self, number: GpuNumber) -> Result<LetGo, String> {
        let _ = number;
        Ok(LetGo::nothing())
    }

    /// One GPU, as it is now.
    async fn find(&self, number: GpuNumber) -> Option<GpuDetail> {
        self.look()
            .await
            .into_iter()
            .find(|detail| detail.gpu.number == number)
    }
}

/// What runs one kind of work on a node.
#[async_trait]
pub trait Side: Backend {
    /// What it can do now.
    async fn look(&self) -> SideReport;

    /// A log of a task; none: the task is none of its.
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence.
    async fn read_log(&self, order: &LogOrder) -> Result<Option<Bytes>, String>;
}

/// What one side of a node can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideReport {
    /// Whether it can run anything.
    pub capability: Capability,
    /// The engine, of the side that runs containers.
    pub engine: Option<Engine>,
    /// Base images, of the side that runs machines.
    pub images: Vec<VmImage>,
    /// The one that machines get where none is named.
    pub default_image: Option<ImageName>,
    /// The helper's version.
    pub helper: Option<String>,
    /// QEMU's version.
    pub qemu: Option<String>,
    /// What is not well, as sentences.
    pub problems: Vec<String>,
}

impl SideReport {
    /// A side that can do nothing, for a reason.
    pub fn none(reason: impl Into<String>) -> Self {
        Self {
            capability: Capability::no(reason),
            engine: None,
            images: Vec::new(),
            default_image: None,
            helper: None,
            qemu: None,
            problems: Vec::new(),
        }
    }
}

/// What a machine is told by: its id, hashed with this project's name, as `machine-id(5)` asks for.
fn machine_name(machine_id: Option<&str>) -> String {
    let id = machine_id.unwrap_or("no machine-id");
    crate::digest::hex_digest(format!("vfioctl\0{id}").as_bytes())
        .chars()
        .take(32)
        .collect()
}

/// The version of NVIDIA's driver, where it is loaded: the second-last word before the date in
/// `/proc/driver/nvidia/version`, as `NVRM version: ... Kernel Module  550.90.07  Fri ...`.
pub(crate) fn read_nvidia_version(root: &vfioctl_scan::SysRoot) -> Option<String> {
    let text = root
        .proc
        .read_text("driver/nvidia/version")
        .ok()
        .flatten()?;
    parse_nvidia_version(&text)
}

fn parse_nvidia_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version"))?;
    let is_version =
        |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    line.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_nvidias_driver_is_found_in_both_of_its_forms() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90.07  Fri May 31 09:35:42 UTC 2024\nGCC version:";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (x@y)  Thu";
        assert_eq!(parse_nvidia_version(closed).as_deref(), Some("550.90.07"));
        assert_eq!(parse_nvidia_version(open).as_deref(), Some("570.86.15"));
        assert_eq!(parse_nvidia_version("nothing"), None);
    }

    #[test]
    fn a_machine_is_told_without_its_id() {
        let name = machine_name(Some("0123456789abcdef0123456789abcdef"));
        assert!(name.len() == 32 && !name.contains("0123456789"), "{name}");
        assert_ne!(name, machine_name(Some("1123456789abcdef0123456789abcdef")));
    }
}
