//! GPUs that are not there: what a runner is told of them, and device nodes to give away.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use vfioctl_api::{Capability, Gpu, GpuTelemetry, Vendor};
use vfioctl_runner::node::{DeviceNodes, GpuDetail, Gpus};

/// A GPU that is not there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FakeGpu {
    /// Its number.
    pub number: u16,
    /// Its address.
    pub address: String,
    /// Its maker.
    pub vendor: Vendor,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Its DRM node.
    pub render: Option<PathBuf>,
    /// Its node of NVIDIA.
    pub nvidia: Option<PathBuf>,
}

impl FakeGpu {
    /// A card of AMD with a device node.
    pub fn amd(number: u16, address: &str, render: &Path) -> Self {
        Self {
            number,
            address: address.into(),
            vendor: Vendor::Amd,
            uuid: None,
            render: Some(render.into()),
            nvidia: None,
        }
    }

    /// A card of NVIDIA.
    pub fn nvidia(number: u16, address: &str, uuid: &str) -> Self {
        Self {
            number,
            address: address.into(),
            vendor: Vendor::Nvidia,
            uuid: Some(uuid.into()),
            render: None,
            nvidia: Some(format!("/dev/nvidia{number}").into()),
        }
    }

    fn detail(&self) -> GpuDetail {
        GpuDetail {
            gpu: Gpu {
                number: self.number.into(),
                present: true,
                address: self.address.clone(),
                path: format!("pci0000:00/{}", self.number),
                vendor: self.vendor,
                id: "1002:73bf".into(),
                name: "a card".into(),
                uuid: self.uuid.clone(),
                memory_mib: None,
                driver: None,
                numa: None,
                iommu_group: None,
                functions: vec![self.address.clone()],
                together: Vec::new(),
                vfio: Capability::yes(),
                containers: Capability::yes(),
                holders: Vec::new(),
            },
            nodes: DeviceNodes {
                render: self.render.clone(),
                nvidia: self.nvidia.clone(),
                ..DeviceNodes::default()
            },
        }
    }
}

/// Makes a device node that behaves as `/dev/null` or one of its neighbours (`Documentation/admin-guide/
/// devices.txt`, major 1), so that a container can really open it.
pub fn make_node(path: &Path, minor: u32) {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(path);
    mknodat(
        CWD,
        path,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o660),
        makedev(1, minor),
    )
    .unwrap();
}

/// The GPUs of a file.
#[derive(Debug)]
pub(super) struct FileGpus(pub(super) PathBuf);

#[async_trait]
impl Gpus for FileGpus {
    async fn look(&self) -> Vec<GpuDetail> {
        let gpus: Vec<FakeGpu> = serde_json::from_slice(&std::fs::read(&self.0).unwrap()).unwrap();
        gpus.iter().map(FakeGpu::detail).collect()
    }

    async fn telemetry(&self) -> Vec<GpuTelemetry> {
        Vec::new()
    }
}
