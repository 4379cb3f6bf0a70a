//! Makes a spec for GPUs that their makers' programs do not describe: all but NVIDIA's.
//!
//! Such a GPU is used through its DRM nodes, and AMD's for computing through `/dev/kfd` too, which all
//! of them share: a process without a card's own render node sees nothing of the card there
//! (`drivers/gpu/drm/amd/amdkfd/kfd_topology.c`, `kfd_devcgroup_check_permission`).

use vfioctl_core::pci::PciAddress;

use crate::edits::{DeviceNode, Edits};
use crate::name::Kind;
use crate::spec::{Device, Spec};

/// The kind of the devices in specs that are made here.
pub const KIND: &str = "vfioctl.dev/gpu";
/// The standard that they keep to: the first in which a node's place on the host can be told.
const VERSION: &str = "0.5.0";

/// What has to be known of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuFacts {
    /// Its address, which is what it is called.
    pub address: PciAddress,
    /// Its device nodes, and those that it shares with others of its maker.
    pub nodes: Vec<NodeFacts>,
}

/// What has to be known of a device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Where it is.
    pub path: String,
    /// Its mode; without it, engines would make it 0666.
    pub mode: u32,
    /// Its group.
    pub group: u32,
}

/// Makes a spec for GPUs. None where there is no GPU with nodes.
pub fn generate(gpus: &[GpuFacts]) -> Option<Spec> {
    let usable = gpus.iter().filter(|gpu| !gpu.nodes.is_empty());
    let devices: Vec<Device> = usable.map(device).collect();
    // The name is one of the standard's, which a test holds.
    let kind: Kind = KIND.parse().ok()?;
    (!devices.is_empty()).then(|| Spec {
        version: VERSION.into(),
        kind,
        devices,
        edits: Edits::default(),
    })
}

fn device(gpu: &GpuFacts) -> Device {
    let nodes = gpu.nodes.iter().map(|node| DeviceNode {
        path: node.path.clone(),
        kind: Some("c".into()),
        file_mode: Some(node.mode & 0o777),
        permissions: Some("rw".into()),
        gid: Some(node.group),
        ..DeviceNode::default()
    });
    let edits = Edits {
        device_nodes: nodes.collect(),
        ..Edits::default()
    };
    Device {
        name: gpu.address.to_string(),
        annotations: Default::default(),
        edits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_called_by_its_address_and_has_its_nodes() {
        let node = |path: &str, mode, group| NodeFacts {
            path: path.into(),
            mode,
            group,
        };
        let gpu = GpuFacts {
            address: "0000:03:00.0".parse().unwrap(),
            nodes: vec![
                node("/dev/dri/renderD128", 0o20660, 105),
                node("/dev/kfd", 0o660, 105),
            ],
        };
        let without = GpuFacts {
            address: "0000:04:00.0".parse().unwrap(),
            nodes: Vec::new(),
        };
        let spec = generate(&[gpu, without]).unwrap();
        let expected = r#"{
  "cdiVersion": "0.5.0",
  "kind": "vfioctl.dev/gpu",
  "devices": [
    {
      "name": "0000:03:00.0",
      "containerEdits": {
        "deviceNodes": [
          {
            "path": "/dev/dri/renderD128",
            "type": "c",
            "fileMode": 432,
            "permissions": "rw",
            "gid": 105
          },
          {
            "path": "/dev/kfd",
            "type": "c",
            "fileMode": 432,
            "permissions": "rw",
            "gid": 105
          }
        ]
      }
    }
  ],
  "containerEdits": {}
}
"#;
        assert_eq!(spec.to_json(), expected);
        assert_eq!(Spec::parse(expected), Ok(spec));
    }

    #[test]
    fn of_no_card_there_is_no_spec() {
        assert_eq!(generate(&[]), None);
    }
}
