//! What its own driver tells of a GPU: nodes, name, UUID, memory.

use std::path::PathBuf;

use vfioctl_core::pci::{DriverName, PciAddress, PciFunction};
use vfioctl_scan::{
    SysRoot, read_amdgpu, read_drm_names, read_is_asleep, read_nvidia_information, read_xe,
};

use super::nvml::Reading;
use crate::node::DeviceNodes;

/// What its own driver tells of a GPU; nothing, where that does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    /// Its nodes.
    pub(super) nodes: DeviceNodes,
    /// A node that the driver speaks of and that nobody has made.
    pub(super) missing_node: Option<PathBuf>,
    /// Its name.
    pub(super) name: Option<String>,
    /// Its UUID.
    pub(super) uuid: Option<String>,
    /// Its memory in MiB.
    pub(super) memory_mib: Option<u64>,
}

/// Reads what its own driver tells of a GPU. `nvml` is what NVML told of it last, `before` what was
/// told of it by the last look: a card that sleeps is not woken to say it again.
pub(super) fn read_told(
    root: &SysRoot,
    function: &PciFunction,
    nvml: Option<&Reading>,
    before: Option<&Told>,
) -> Told {
    let address = function.address;
    let own = function.driver.as_ref().filter(|driver| !driver.is_vfio());
    let Some(driver) = own.map(DriverName::as_str) else {
        return Told::default();
    };
    let mut told = Told::default();
    read_drm(root, address, &mut told);
    if driver == "amdgpu" {
        told.nodes.shared = existing(root, "kfd").into_iter().collect();
    }
    match driver {
        "nvidia" => read_nvidia(root, address, nvml, &mut told),
        "amdgpu" | "xe" if read_is_asleep(root, address) => {
            told.uuid = before.and_then(|before| before.uuid.clone());
            told.memory_mib = before.and_then(|before| before.memory_mib);
        }
        "amdgpu" => {
            let amd = read_amdgpu(root, address);
            told.uuid = amd.unique_id;
            told.memory_mib = amd.memory_bytes.map(|bytes| bytes >> 20);
        }
        "xe" => {
            let memory_bytes = read_xe(root, address).memory_bytes;
            told.memory_mib = memory_bytes.map(|bytes| bytes >> 20);
        }
        _ => {}
    }
    told
}

fn read_drm(root: &SysRoot, address: PciAddress, told: &mut Told) {
    let drm = read_drm_names(root, address).unwrap_or_default();
    for (names, node) in [
        (&drm.cards, &mut told.nodes.card),
        (&drm.renders, &mut told.nodes.render),
    ] {
        let Some(path) = names.first().map(|name| format!("dri/{name}")) else {
            continue;
        };
        *node = existing(root, &path);
        if node.is_none() {
            told.missing_node = Some(shown(root, &path));
        }
    }
}

fn read_nvidia(root: &SysRoot, address: PciAddress, nvml: Option<&Reading>, told: &mut Told) {
    let said = read_nvidia_information(root, address).ok().flatten();
    let said = said.unwrap_or_default();
    let minor = said.minor.or_else(|| nvml.and_then(|nvml| nvml.minor));
    // What is missing of DRM is of no concern here: the driver's own node is what programs need.
    told.missing_node = None;
    if let Some(path) = minor.map(|minor| format!("nvidia{minor}")) {
        told.nodes.nvidia = existing(root, &path);
        if told.nodes.nvidia.is_none() {
            told.missing_node = Some(shown(root, &path));
        }
    }
    // The file comes first: it is of this moment.
    told.name = said
        .model
        .or_else(|| nvml.and_then(|nvml| nvml.name.clone()));
    told.uuid = said
        .uuid
        .or_else(|| nvml.and_then(|nvml| nvml.uuid.clone()));
    told.memory_mib = nvml.and_then(|nvml| nvml.memory_mib);
}

/// A node, where it is there.
fn existing(root: &SysRoot, path: &str) -> Option<PathBuf> {
    root.dev.exists(path).then(|| shown(root, path))
}

fn shown(root: &SysRoot, path: &str) -> PathBuf {
    PathBuf::from(root.dev.display(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::sample::{folder_machine, function, machine};

    const GPU: &str = "01:00.0";

    fn told(driver: &str, files: &[(&str, &str)], nvml: Option<&Reading>) -> Told {
        told_after(None, driver, files, nvml)
    }

    fn told_after(
        before: Option<&Told>,
        driver: &str,
        files: &[(&str, &str)],
        nvml: Option<&Reading>,
    ) -> Told {
        let (_folder, root) = folder_machine(files);
        let snapshot = machine([function(GPU, 0x03_0000).driver(driver)]);
        let function = snapshot.functions.values().next().unwrap();
        read_told(&root, function, nvml, before)
    }

    const DRM: [(&str, &str); 4] = [
        ("sys/bus/pci/devices/0000:01:00.0/drm/card1/dev", "226:1"),
        (
            "sys/bus/pci/devices/0000:01:00.0/drm/renderD129/dev",
            "226:129",
        ),
        ("dev/dri/card1", ""),
        ("dev/dri/renderD129", ""),
    ];

    fn drm_nodes() -> DeviceNodes {
        DeviceNodes {
            card: Some("/dev/dri/card1".into()),
            render: Some("/dev/dri/renderD129".into()),
            ..DeviceNodes::default()
        }
    }

    #[test]
    fn nodes_are_those_of_the_function_whatever_their_numbers() {
        let mut files = DRM.to_vec();
        // Another card came first.
        files.extend([("dev/dri/card0", ""), ("dev/dri/renderD128", "")]);
        let expected = Told {
            nodes: drm_nodes(),
            ..Told::default()
        };
        assert_eq!(told("nouveau", &files, None), expected);
    }

    #[test]
    fn a_node_that_nobody_has_made_is_named() {
        let told = told("nouveau", &DRM[..3], None);
        assert_eq!(told.nodes.render, None);
        assert_eq!(told.missing_node, Some("/dev/dri/renderD129".into()));
    }

    #[test]
    fn on_vfio_pci_a_gpu_tells_nothing() {
        assert_eq!(told("vfio-pci", &DRM, None), Told::default());
    }

    #[test]
    fn a_gpu_of_nvidia_is_told_by_its_driver_and_by_nvml() {
        let information = (
            "proc/driver/nvidia/gpus/0000:01:00.0/information",
            "Model: \t NVIDIA X\nGPU UUID: \t GPU-????????\nDevice Minor: \t 2",
        );
        let nvml = Reading {
            name: Some("not asked".into()),
            uuid: Some("GPU-1".into()),
            memory_mib: Some(81_559),
            minor: Some(7),
            ..Reading::of(crate::gpu::sample::at(GPU))
        };
        let expected = Told {
            nodes: DeviceNodes {
                nvidia: Some("/dev/nvidia2".into()),
                ..DeviceNodes::default()
            },
            missing_node: None,
            name: Some("NVIDIA X".into()),
            uuid: Some("GPU-1".into()),
            memory_mib: Some(81_559),
        };
        let files = [information, ("dev/nvidia2", "")];
        assert_eq!(told("nvidia", &files, Some(&nvml)), expected);
        // Without the file, NVML's words are what there is.
        let without = told("nvidia", &[("dev/nvidia7", "")], Some(&nvml));
        assert_eq!(without.nodes.nvidia, Some("/dev/nvidia7".into()));
        assert_eq!(without.name.as_deref(), Some("not asked"));
        let missing = told("nvidia", &[information], None);
        assert_eq!(missing.missing_node, Some("/dev/nvidia2".into()));
    }

    #[test]
    fn a_gpu_of_amd_shares_a_node_and_is_not_woken() {
        let device = "sys/bus/pci/devices/0000:01:00.0";
        let (memory, id) = (
            format!("{device}/mem_info_vram_total"),
            format!("{device}/unique_id"),
        );
        let status = format!("{device}/power/runtime_status");
        let mut files = vec![
            (memory.as_str(), "17163091968"),
            (&id, "a1b2"),
            ("dev/kfd", ""),
        ];
        let awake = told("amdgpu", &files, None);
        assert_eq!(awake.nodes.shared, [PathBuf::from("/dev/kfd")]);
        assert_eq!(
            (awake.memory_mib, awake.uuid.as_deref()),
            (Some(16_368), Some("a1b2"))
        );
        files.push((&status, "suspended"));
        let asleep = told("amdgpu", &files, None);
        assert_eq!((asleep.memory_mib, asleep.uuid), (None, None));
        assert_eq!(told_after(Some(&awake), "amdgpu", &files, None), awake);
    }
}
