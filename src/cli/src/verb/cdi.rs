//! `vfioctl cdi`: GPUs for container engines, as the Container Device Interface has them.

use std::path::Path;

use vfioctl_cdi::{GpuFacts, NodeFacts, Spec, generate};
use vfioctl_core::pci::PciFunction;
use vfioctl_scan::{Root, SysRoot, read_device_nodes};

use crate::Done;
use crate::answer_file::write_answer_file;
use crate::command_line::CdiVerb;
use crate::limits::{MAX_CDI_BYTES, MAX_CDI_FILES};
use crate::record::{
    BrokenSpecRecord, CdiDeviceRecord, GeneratedSpecRecord, LeftOutRecord, SpecFileRecord,
    SpecsRecord,
};
use crate::seen::look;
use crate::session::Session;
use crate::verdict::Verdict;

/// Vendors by their IDs.
const NVIDIA: u16 = 0x10de;
const AMD: u16 = 0x1002;

/// Answers `vfioctl cdi`.
pub(super) fn run(verb: CdiVerb, session: &mut Session<'_>) -> Done {
    match verb {
        CdiVerb::Generate { output } => write(output.as_deref(), session),
        CdiVerb::List => list(session),
    }
}

fn write(file: Option<&Path>, session: &mut Session<'_>) -> Done {
    let root = session.root()?;
    let snapshot = look(session)?.snapshot;
    let gpus = snapshot
        .functions
        .values()
        .filter(|function| function.class.is_gpu());
    let (facts, left_out) = read_gpus(&root, gpus);
    let spec = generate(&facts);
    if let (Some(file), Some(spec)) = (file, &spec) {
        write_answer_file(file, &spec.to_json())?;
    }
    let record = GeneratedSpecRecord {
        file: file
            .filter(|_| spec.is_some())
            .map(|file| file.display().to_string()),
        spec: spec
            .as_ref()
            .and_then(|spec| serde_json::from_str(&spec.to_json()).ok()),
        left_out,
    };
    for one in &record.left_out {
        let line = format!("vfioctl: {} is left out: {}\n", one.address, one.because);
        session.output.say(&line);
    }
    if spec.is_none() && record.left_out.is_empty() {
        session
            .output
            .say("vfioctl: this machine has no GPU to write down\n");
    }
    session.output.answer(&record)?;
    Ok(if spec.is_some() {
        Verdict::Yes
    } else {
        Verdict::No
    })
}

/// What has to be known of GPUs, and which of them do not belong into a specification.
fn read_gpus<'a>(
    root: &SysRoot,
    gpus: impl Iterator<Item = &'a PciFunction>,
) -> (Vec<GpuFacts>, Vec<LeftOutRecord>) {
    let (mut facts, mut left_out) = (Vec::new(), Vec::new());
    for gpu in gpus {
        match read_nodes(root, gpu) {
            Ok(nodes) => facts.push(GpuFacts {
                address: gpu.address,
                nodes,
            }),
            Err(because) => left_out.push(LeftOutRecord {
                address: gpu.address.to_string(),
                because,
            }),
        }
    }
    (facts, left_out)
}

fn read_nodes(root: &SysRoot, gpu: &PciFunction) -> Result<Vec<NodeFacts>, String> {
    if gpu.identity.vendor == NVIDIA {
        return Err(
            "use 'nvidia-ctk cdi generate' for it: its driver's libraries belong into a container too"
                .into(),
        );
    }
    let paths = read_device_nodes(root, gpu.address, None);
    let mut nodes: Vec<NodeFacts> = paths
        .iter()
        .filter_map(|path| read_node(root, path))
        .collect();
    if nodes.is_empty() {
        return Err(match &gpu.driver {
            Some(driver) => format!("{driver} has it, and gives it no DRM nodes"),
            None => "it has no driver, so it has no DRM nodes".into(),
        });
    }
    if gpu.identity.vendor == AMD {
        nodes.extend(read_node(root, "/dev/kfd"));
    }
    Ok(nodes)
}

fn read_node(root: &SysRoot, path: &str) -> Option<NodeFacts> {
    let (_, group, mode) = root.dev.owner_and_mode(path.strip_prefix("/dev/")?)?;
    Some(NodeFacts {
        path: path.to_owned(),
        mode,
        group,
    })
}

fn list(session: &mut Session<'_>) -> Done {
    let root = session.root()?;
    let record = read_specs(&[&root.etc, &root.run]);
    for problem in &record.problems {
        let line = format!(
            "vfioctl: '{}' is no CDI specification: {}\n",
            problem.file, problem.because
        );
        session.output.say(&line);
    }
    session.output.answer(&record)?;
    Ok(if record.problems.is_empty() {
        Verdict::Yes
    } else {
        Verdict::No
    })
}

/// The specifications below `/etc/cdi` and `/run/cdi`, which `/var/run/cdi` is.
fn read_specs(roots: &[&Root]) -> SpecsRecord {
    let mut record = SpecsRecord {
        specs: Vec::new(),
        problems: Vec::new(),
    };
    for root in roots {
        let mut names = root.list("cdi").ok().flatten().unwrap_or_default();
        names.retain(|name| name.ends_with(".json") || name.ends_with(".yaml"));
        names.sort();
        for name in names.iter().take(MAX_CDI_FILES) {
            let path = format!("cdi/{name}");
            let file = root.display(&path);
            match read_spec(root, &path) {
                Ok(spec) => record.specs.push(spec_record(file, &spec)),
                Err(because) => record.problems.push(BrokenSpecRecord { file, because }),
            }
        }
    }
    record
}

fn read_spec(root: &Root, path: &str) -> Result<Spec, String> {
    let bytes = root.read_bytes(path, MAX_CDI_BYTES);
    let bytes = bytes.map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or("it is not there any more")?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    Spec::parse(&text).map_err(|error| error.to_string())
}

fn spec_record(file: String, spec: &Spec) -> SpecFileRecord {
    let devices = spec.devices.iter().map(|device| {
        let edits = spec.edits_of(&device.name).unwrap_or_default();
        let nodes = edits.device_nodes.iter();
        CdiDeviceRecord {
            name: format!("{}={}", spec.kind, device.name),
            nodes: nodes.map(|node| node.on_host().to_owned()).collect(),
            needs_engine: !edits.is_plain(),
        }
    });
    SpecFileRecord {
        file,
        kind: spec.kind.to_string(),
        version: spec.version.clone(),
        devices: devices.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::record::schema::assert_answer;
    use crate::sample;

    /// A machine whose one display function that is no NVIDIA's has a card.
    fn machine(address: &str) -> (tempfile::TempDir, SysRoot) {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in [
            "proc",
            "dev/dri",
            "etc/cdi",
            "run",
            &format!("sys/bus/pci/devices/{address}/drm/card1"),
            &format!("sys/bus/pci/devices/{address}/drm/renderD129"),
        ] {
            std::fs::create_dir_all(at(path)).unwrap();
        }
        for node in ["dev/dri/card1", "dev/dri/renderD129", "dev/kfd"] {
            std::fs::write(at(node), "").unwrap();
            std::fs::set_permissions(at(node), std::fs::Permissions::from_mode(0o660)).unwrap();
        }
        let root = SysRoot::below(folder.path()).unwrap();
        (folder, root)
    }

    #[test]
    fn gpus_are_written_down_with_their_nodes_of_now() {
        let seen = sample::desktop();
        let gpus: Vec<&PciFunction> = seen
            .snapshot
            .functions
            .values()
            .filter(|function| function.class.is_gpu())
            .collect();
        let mut card = (*gpus.first().unwrap()).clone();
        card.identity.vendor = AMD;
        let mut other = card.clone();
        other.address = "0000:7f:00.0".parse().unwrap();
        other.driver = "vfio-pci".parse().ok();
        let mut nvidia = other.clone();
        nvidia.identity.vendor = NVIDIA;
        let (_folder, root) = machine(&card.address.to_string());
        let (facts, left_out) = read_gpus(&root, [&card, &other, &nvidia].into_iter());
        let paths: Vec<&str> = facts[0]
            .nodes
            .iter()
            .map(|node| node.path.as_str())
            .collect();
        assert_eq!(paths, ["/dev/dri/card1", "/dev/dri/renderD129", "/dev/kfd"]);
        assert_eq!(facts[0].nodes[0].mode & 0o777, 0o660);
        assert_eq!(left_out.len(), 2);
        assert_eq!(
            left_out[0].because,
            "vfio-pci has it, and gives it no DRM nodes"
        );
        let record = GeneratedSpecRecord {
            spec: generate(&facts).and_then(|spec| serde_json::from_str(&spec.to_json()).ok()),
            file: Some("/etc/cdi/vfioctl.json".into()),
            left_out,
        };
        assert_answer("cdi-generate", &record);
        let none = GeneratedSpecRecord {
            spec: None,
            file: None,
            left_out: Vec::new(),
        };
        assert_answer("cdi-generate", &none);
    }

    #[test]
    fn specs_of_others_are_listed_and_what_is_none_is_named() {
        let (folder, root) = machine("0000:01:00.0");
        let spec = r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0",
            "containerEdits": {"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/b"}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/x"}]}}]}"#;
        let cdi = folder.path().join("etc/cdi");
        std::fs::write(cdi.join("a.json"), spec).unwrap();
        std::fs::write(cdi.join("b.yaml"), "kind: [").unwrap();
        std::fs::write(cdi.join("c.txt"), "not looked at").unwrap();
        let record = read_specs(&[&root.etc, &root.run]);
        let device = CdiDeviceRecord {
            name: "nvidia.com/gpu=0".into(),
            nodes: vec!["/dev/b".into()],
            needs_engine: true,
        };
        assert_eq!(record.specs[0].devices, [device]);
        assert_eq!(record.specs.len(), 1);
        assert_eq!(record.problems[0].file, "/etc/cdi/b.yaml");
        assert_answer("cdi-list", &record);
    }
}
