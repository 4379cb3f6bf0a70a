//! How GPUs get into a container: looked up at each start, by what each GPU is *now*.
//!
//! | GPU | engine | way |
//! |---|---|---|
//! | NVIDIA | Docker with NVIDIA's runtime or hook | a request for devices, by UUID |
//! | NVIDIA | Docker 25 and later with CDI, Podman | a CDI name, which the engine resolves, hooks and all |
//! | any other | any | its device nodes |
//!
//! Of NVIDIA's, device nodes alone are not enough: the driver's libraries have to get in, which its hooks
//! do. No hook of a specification is run here; where an engine cannot, the GPU is refused.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use vfioctl_api::Vendor;
use vfioctl_cdi::{DeviceName, GpuFacts, Kind, NodeFacts, Spec};

use super::engine::{EngineKind, Facts};
use super::recipe::GpuParts;
use crate::limits::{MAX_CDI_BYTES, MAX_CDI_FILES};
use crate::node::GpuDetail;

/// The kind under which NVIDIA's program writes CDI specifications.
const NVIDIA_KIND: &str = "nvidia.com/gpu";
/// The program that Docker's support for NVIDIA is (`daemon/nvidia_linux.go` of Docker).
const NVIDIA_HOOK: &str = "nvidia-container-runtime-hook";
/// The first API of Docker with requests for devices, and the first with CDI.
const REQUESTS_SINCE: (u32, u32) = (1, 40);
const CDI_SINCE: (u32, u32) = (1, 44);

/// How NVIDIA's GPUs get into containers of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NvidiaWay {
    /// By a request for devices, which NVIDIA's hook answers.
    Runtime,
    /// By a CDI name.
    Cdi,
}

impl NvidiaWay {
    /// Its name, as it is reported.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Cdi => "cdi",
        }
    }
}

/// What the node has for NVIDIA's GPUs beside the engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NvidiaSupport {
    /// Whether NVIDIA's hook is installed.
    pub(super) has_hook: bool,
    /// The CDI specifications that the engine sees.
    pub(super) specs: Vec<Spec>,
    /// Those that could not be read, as sentences.
    pub(super) problems: Vec<String>,
}

impl NvidiaSupport {
    /// Looks for it.
    pub(super) fn look(facts: &Facts, programs: &[PathBuf]) -> Self {
        let mut found = Self {
            has_hook: programs
                .iter()
                .any(|folder| folder.join(NVIDIA_HOOK).is_file()),
            ..Self::default()
        };
        for folder in &facts.cdi_folders {
            read_specs(folder, &mut found);
        }
        found
    }

    fn has_nvidia_spec(&self) -> bool {
        self.specs
            .iter()
            .any(|spec| spec.kind.as_str() == NVIDIA_KIND)
    }

    /// How NVIDIA's GPUs get in; none: not at all.
    pub(super) fn way(&self, facts: &Facts) -> Option<NvidiaWay> {
        match facts.kind {
            EngineKind::Docker => {
                let has_runtime = facts.runtimes.contains("nvidia") || self.has_hook;
                if has_runtime && facts.api >= REQUESTS_SINCE {
                    return Some(NvidiaWay::Runtime);
                }
                let has_cdi = facts.api >= CDI_SINCE && !facts.cdi_folders.is_empty();
                (has_cdi && self.has_nvidia_spec()).then_some(NvidiaWay::Cdi)
            }
            EngineKind::Podman => self.has_nvidia_spec().then_some(NvidiaWay::Cdi),
        }
    }
}

/// Reads the CDI specifications of a folder; what is none is named as a problem.
fn read_specs(folder: &Path, found: &mut NvidiaSupport) {
    // Most nodes have none.
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let is_spec = |path: &&PathBuf| {
        path.extension()
            .is_some_and(|extension| ["json", "yaml"].iter().any(|known| extension == *known))
    };
    for path in paths.iter().filter(is_spec).take(MAX_CDI_FILES) {
        match read_spec(path) {
            Ok(spec) => found.specs.push(spec),
            Err(error) => found
                .problems
                .push(format!("CDI specification '{}': {error}", path.display())),
        }
    }
}

fn read_spec(path: &Path) -> Result<Spec, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MAX_CDI_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    Spec::parse(&text).map_err(|error| error.to_string())
}

/// How these GPUs get into a container.
///
/// # Errors
/// Why one does not, as a sentence with what to do.
pub(super) fn plan_gpus(
    gpus: &[GpuDetail],
    facts: &Facts,
    support: &NvidiaSupport,
) -> Result<GpuParts, String> {
    let mut parts = GpuParts::default();
    let mut groups = BTreeSet::new();
    let (nvidia, others): (Vec<_>, Vec<_>) = gpus
        .iter()
        .partition(|gpu| gpu.gpu.vendor == Vendor::Nvidia);
    for gpu in others {
        let facts = read_facts(gpu)?;
        let edits = vfioctl_cdi::generate(std::slice::from_ref(&facts))
            .and_then(|spec| spec.edits_of(&facts.address.to_string()))
            .ok_or_else(|| {
                format!(
                    "{} has no device nodes: its own driver does not have it",
                    called(gpu)
                )
            })?;
        for node in edits.device_nodes {
            groups.extend(node.gid.filter(|gid| *gid != 0));
            if !parts.nodes.contains(&node.path) {
                parts.nodes.push(node.path);
            }
        }
    }
    parts.groups = groups.into_iter().collect();
    if nvidia.is_empty() {
        // Images name GPUs that they want, and where NVIDIA's runtime is the default one they have them.
        parts.environment.push("NVIDIA_VISIBLE_DEVICES=void".into());
        return Ok(parts);
    }
    for gpu in &nvidia {
        let uuid = gpu.gpu.uuid.as_ref().ok_or_else(|| {
            format!(
                "{} has no UUID: NVIDIA's driver does not have it, or does not answer",
                called(gpu)
            )
        })?;
        match support.way(facts) {
            Some(NvidiaWay::Runtime) => parts.uuids.push(uuid.clone()),
            Some(NvidiaWay::Cdi) => parts
                .cdi
                .push(find_cdi_name(gpu, uuid, &nvidia, support)?.to_string()),
            None if facts.kind == EngineKind::Docker
                && facts.api >= REQUESTS_SINCE
                && !support.has_nvidia_spec() =>
            {
                // A hook that is installed where only the engine looks. Docker leaves no request out: without
                // a hook, the container does not start.
                parts.uuids.push(uuid.clone());
            }
            None => return Err(no_way(gpu, facts, support)),
        }
    }
    Ok(parts)
}

/// What the cluster calls a GPU, in messages.
fn called(gpu: &GpuDetail) -> String {
    format!("GPU {} ({})", gpu.gpu.number, gpu.gpu.address)
}

fn no_way(gpu: &GpuDetail, facts: &Facts, support: &NvidiaSupport) -> String {
    let name = called(gpu);
    match facts.kind {
        EngineKind::Podman => format!(
            "{name} cannot get into a container: install nvidia-container-toolkit and run 'nvidia-ctk cdi generate \
             --output=/etc/cdi/nvidia.yaml'"
        ),
        EngineKind::Docker if support.has_nvidia_spec() => format!(
            "{name} cannot get into a container: Docker {} cannot run the hooks of its CDI specification; run \
             'nvidia-ctk runtime configure --runtime=docker' and restart Docker, or install Docker 25",
            facts.version
        ),
        EngineKind::Docker => format!(
            "{name} cannot get into a container: install nvidia-container-toolkit and run 'nvidia-ctk runtime \
             configure --runtime=docker'"
        ),
    }
}

/// The CDI name of a GPU of NVIDIA: by its UUID, else by the device node that is its own now.
fn find_cdi_name(
    gpu: &GpuDetail,
    uuid: &str,
    all: &[&GpuDetail],
    support: &NvidiaSupport,
) -> Result<DeviceName, String> {
    let unknown = || {
        format!(
            "no CDI specification has {} with UUID {uuid}: run 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml' \
             again",
            called(gpu)
        )
    };
    let by_uuid: DeviceName = format!("{NVIDIA_KIND}={uuid}")
        .parse()
        .map_err(|_| unknown())?;
    match vfioctl_cdi::resolve(&support.specs, &by_uuid) {
        Ok(_) => return Ok(by_uuid),
        Err(vfioctl_cdi::ResolveError::Unknown(_)) => {}
        Err(error) => return Err(error.to_string()),
    }
    let kind: Kind = NVIDIA_KIND.parse().map_err(|_| unknown())?;
    let node = gpu
        .nodes
        .nvidia
        .as_ref()
        .map(|node| node.to_string_lossy().into_owned())
        .ok_or_else(unknown)?;
    let is_other = |name: &str| {
        let number = name.strip_prefix("/dev/nvidia");
        name != node
            && number.is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
            })
    };
    let of_specs = support
        .specs
        .iter()
        .flat_map(|spec| &spec.devices)
        .flat_map(|device| &device.edits.device_nodes);
    let of_gpus = all
        .iter()
        .filter_map(|gpu| gpu.nodes.nvidia.as_ref())
        .map(|node| node.to_string_lossy().into_owned());
    let siblings: BTreeSet<String> = of_specs
        .map(|node| node.on_host().to_owned())
        .chain(of_gpus)
        .filter(|name| is_other(name))
        .collect();
    let siblings: Vec<String> = siblings.into_iter().collect();
    vfioctl_cdi::device_with_node(&support.specs, &kind, &node, &siblings).ok_or_else(unknown)
}

/// What has to be known of a GPU that is none of NVIDIA's, from its device nodes as they are now.
fn read_facts(gpu: &GpuDetail) -> Result<GpuFacts, String> {
    let address = gpu
        .gpu
        .address
        .parse()
        .map_err(|_| format!("'{}' is no PCI address", gpu.gpu.address))?;
    let nodes = gpu.nodes.all().into_iter().map(|path| {
        let shown = path.display();
        let metadata = std::fs::symlink_metadata(&path)
            .map_err(|error| format!("device node '{shown}' of {}: {error}", called(gpu)))?;
        if !metadata.file_type().is_char_device() {
            return Err(format!("'{shown}' of {} is no device node", called(gpu)));
        }
        Ok(NodeFacts {
            path: path.to_string_lossy().into_owned(),
            mode: metadata.permissions().mode(),
            group: metadata.gid(),
        })
    });
    Ok(GpuFacts {
        address,
        nodes: nodes.collect::<Result<_, String>>()?,
    })
}

#[cfg(test)]
mod tests {
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
}
