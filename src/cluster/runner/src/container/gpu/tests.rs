//! Tests of how GPUs get in.

use vfioctl_api::{Capability, Gpu};

use super::*;
use crate::node::DeviceNodes;

fn nvidia(number: u16, uuid: &str, node: &str) -> GpuDetail {
    GpuDetail {
        gpu: Gpu {
            number: number.into(),
            present: true,
            address: format!("0000:0{number}:00.0"),
            path: String::new(),
            vendor: Vendor::Nvidia,
            id: "10de:2684".into(),
            name: String::new(),
            uuid: (!uuid.is_empty()).then(|| uuid.into()),
            memory_mib: None,
            driver: None,
            numa: None,
            iommu_group: None,
            functions: Vec::new(),
            together: Vec::new(),
            vfio: Capability::yes(),
            containers: Capability::yes(),
            holders: Vec::new(),
        },
        nodes: DeviceNodes {
            nvidia: Some(node.into()),
            ..DeviceNodes::default()
        },
    }
}

fn facts(kind: EngineKind, api: (u32, u32), runtimes: &[&str], cdi: bool) -> Facts {
    Facts {
        kind,
        version: String::new(),
        api,
        runtimes: runtimes.iter().map(|name| (*name).to_owned()).collect(),
        cdi_folders: if cdi {
            vec!["/etc/cdi".into()]
        } else {
            Vec::new()
        },
        has_init: true,
        has_old_cgroups: false,
    }
}

fn spec(devices: &[(&str, &str)]) -> NvidiaSupport {
    let devices: Vec<String> = devices
        .iter()
        .map(|(name, node)| {
            format!("{{name: '{name}', containerEdits: {{deviceNodes: [{{path: {node}}}]}}}}")
        })
        .collect();
    let text = format!(
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: [{}]\n",
        devices.join(", ")
    );
    NvidiaSupport {
        specs: vec![Spec::parse(&text).unwrap()],
        ..NvidiaSupport::default()
    }
}

#[test]
fn each_engine_has_its_way_for_nvidia() {
    let none = NvidiaSupport::default();
    let hook = NvidiaSupport {
        has_hook: true,
        ..NvidiaSupport::default()
    };
    let with_spec = spec(&[("GPU-1", "/dev/nvidia0")]);
    let docker = |api, runtimes: &[&str], cdi| facts(EngineKind::Docker, api, runtimes, cdi);
    let podman = facts(EngineKind::Podman, (1, 41), &["runc"], true);
    let cases = [
        (
            docker((1, 41), &["nvidia"], false),
            &none,
            Some(NvidiaWay::Runtime),
        ),
        (
            docker((1, 41), &["runc"], false),
            &hook,
            Some(NvidiaWay::Runtime),
        ),
        (docker((1, 39), &["nvidia"], false), &none, None),
        (
            docker((1, 44), &["nvidia"], true),
            &with_spec,
            Some(NvidiaWay::Runtime),
        ),
        (
            docker((1, 44), &["runc"], true),
            &with_spec,
            Some(NvidiaWay::Cdi),
        ),
        (docker((1, 44), &["runc"], false), &with_spec, None),
        (docker((1, 44), &["runc"], true), &none, None),
        (docker((1, 43), &["runc"], true), &with_spec, None),
        (podman.clone(), &with_spec, Some(NvidiaWay::Cdi)),
        (podman, &hook, None),
    ];
    for (facts, support, way) in cases {
        assert_eq!(support.way(&facts), way, "{facts:?}");
    }
}

#[test]
fn nvidia_is_asked_for_by_uuid_and_never_by_number() {
    let gpus = [
        nvidia(1, "GPU-b", "/dev/nvidia0"),
        nvidia(2, "GPU-a", "/dev/nvidia7"),
    ];
    let docker = facts(EngineKind::Docker, (1, 41), &["nvidia"], false);
    let parts = plan_gpus(&gpus, &docker, &NvidiaSupport::default()).unwrap();
    assert_eq!(
        parts,
        GpuParts {
            uuids: vec!["GPU-b".into(), "GPU-a".into()],
            ..GpuParts::default()
        }
    );
    assert!(
        plan_gpus(
            &[nvidia(1, "", "/dev/nvidia0")],
            &docker,
            &NvidiaSupport::default()
        )
        .is_err()
    );
}

#[test]
fn the_cdi_name_is_that_of_the_uuid_or_of_the_node_of_now() {
    let podman = facts(EngineKind::Podman, (1, 41), &[], true);
    let cdi = |support: &NvidiaSupport, gpu: GpuDetail| {
        plan_gpus(&[gpu], &podman, support).map(|parts| parts.cdi)
    };
    let by_uuid = spec(&[("0", "/dev/nvidia0"), ("GPU-b", "/dev/nvidia1")]);
    assert_eq!(
        cdi(&by_uuid, nvidia(0, "GPU-b", "/dev/nvidia0")),
        Ok(vec!["nvidia.com/gpu=GPU-b".into()])
    );
    // Written when the cards had other numbers: what counts is which node a name stands for.
    let by_number = spec(&[("0", "/dev/nvidia1"), ("1", "/dev/nvidia0")]);
    assert_eq!(
        cdi(&by_number, nvidia(0, "GPU-x", "/dev/nvidia0")),
        Ok(vec!["nvidia.com/gpu=1".into()])
    );
    assert!(cdi(&by_number, nvidia(0, "GPU-x", "/dev/nvidia2")).is_err());
}

#[test]
fn where_no_hook_can_run_the_gpu_is_refused() {
    let docker = facts(EngineKind::Docker, (1, 41), &["runc"], false);
    let support = spec(&[("GPU-1", "/dev/nvidia0")]);
    let refused = plan_gpus(&[nvidia(0, "GPU-1", "/dev/nvidia0")], &docker, &support);
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn a_gpu_that_is_no_nvidia_has_its_nodes() {
    let mut gpu = nvidia(3, "", "");
    gpu.gpu.vendor = Vendor::Amd;
    gpu.nodes = DeviceNodes {
        render: Some("/dev/null".into()),
        shared: vec!["/dev/zero".into()],
        ..DeviceNodes::default()
    };
    let docker = facts(EngineKind::Docker, (1, 41), &[], false);
    let plan = |gpu: &GpuDetail| {
        plan_gpus(
            std::slice::from_ref(gpu),
            &docker,
            &NvidiaSupport::default(),
        )
    };
    let expected = GpuParts {
        nodes: vec!["/dev/null".into(), "/dev/zero".into()],
        environment: vec!["NVIDIA_VISIBLE_DEVICES=void".into()],
        ..GpuParts::default()
    };
    assert_eq!(plan(&gpu), Ok(expected));
    gpu.nodes.card = Some("/dev/no-such-node".into());
    assert!(plan(&gpu).is_err());
    gpu.nodes.card = Some("/etc/passwd".into());
    assert!(plan(&gpu).is_err(), "a file is no device");
    gpu.nodes = DeviceNodes::default();
    assert!(plan(&gpu).is_err(), "a card on vfio-pci has no nodes");
}
