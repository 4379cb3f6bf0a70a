//! Samples for tests: a command, a machine, nodes with GPUs.

use vfioctl_api::{
    Backend, Capability, Container, Gpu, GpuMode, GpuNumber, Kind, Machine, MemorySize, NodeReport,
    Submission, TaskId, Vendor, Versions, VmImage,
};

use crate::Record;

/// A command with a target.
pub(crate) fn submission(target: Option<&str>) -> Submission {
    Submission {
        kind: Kind::Command,
        name: None,
        backend: Backend::Container(Container {
            command: vec!["true".into()],
            ..Container::default()
        }),
        target: target.map(|text| text.parse().unwrap()),
        gpus: None,
        gpu_mode: GpuMode::Shared,
        cores: 1,
        memory: None,
        ssh: None,
        queue: false,
    }
}

/// A machine with a target.
pub(crate) fn machine_submission(target: Option<&str>) -> Submission {
    Submission {
        kind: Kind::Vps,
        backend: Backend::Machine(Machine::default()),
        ..submission(target)
    }
}

pub(crate) fn command() -> Record {
    let owner = "alice".parse().unwrap();
    Record::new(TaskId::new(1, 1), owner, submission(None), 0)
}

pub(crate) fn machine() -> Record {
    let owner = "alice".parse().unwrap();
    Record::new(
        TaskId::new(1, 2),
        owner,
        machine_submission(Some("a::0")),
        0,
    )
}

/// A node with 8 cores, 16 GiB and GPUs. GPUs 2 and 3 cannot be kept apart.
pub(crate) fn report(gpus: u16) -> NodeReport {
    NodeReport {
        machine: "m".into(),
        boot: "b".into(),
        versions: Versions::default(),
        address: "127.0.0.1".into(),
        cores: 8,
        memory: MemorySize::from_mib(16 * 1024),
        numa: Vec::new(),
        gpus: (0..gpus).map(gpu).collect(),
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

fn gpu(number: u16) -> Gpu {
    let together = match number {
        2 => vec![GpuNumber::from(3)],
        3 => vec![GpuNumber::from(2)],
        _ => Vec::new(),
    };
    Gpu {
        number: number.into(),
        present: true,
        address: format!("0000:{:02x}:00.0", number + 1),
        path: format!("pci0000:00/{number:02x}.0/00.0"),
        vendor: Vendor::Nvidia,
        id: "10de:2684".into(),
        name: "NVIDIA GeForce RTX 4090".into(),
        uuid: None,
        memory_mib: Some(24 * 1024),
        driver: Some("nvidia".into()),
        numa: None,
        iommu_group: None,
        functions: Vec::new(),
        together,
        vfio: Capability::yes(),
        containers: Capability::yes(),
        holders: Vec::new(),
    }
}
