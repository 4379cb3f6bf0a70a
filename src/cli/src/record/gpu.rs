//! Records of the GPUs of a cluster.

use serde::Serialize;
use vfioctl_api::{Capability, GpuUse, GpuView, Holder, HolderKind, Vendor};

/// `vfioctl gpu list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GpusRecord {
    /// The GPUs.
    pub(crate) gpus: Vec<GpuRecord>,
}

/// A GPU of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GpuRecord {
    /// Its name in the cluster: `node::2`.
    pub(crate) gpu: String,
    /// Its node.
    pub(crate) node: String,
    /// Its number there.
    pub(crate) number: u16,
    /// Who has it, or why nobody can.
    pub(crate) state: GpuStateRecord,
    /// Its name.
    pub(crate) name: String,
    /// `nvidia`, `amd`, `intel` or `other`.
    pub(crate) vendor: &'static str,
    /// Vendor and device ID.
    pub(crate) id: String,
    /// What its driver calls it.
    pub(crate) uuid: Option<String>,
    /// Whether it is in its place.
    pub(crate) present: bool,
    /// Its PCI address.
    pub(crate) address: String,
    /// Where it sits, bridge by bridge.
    pub(crate) path: String,
    /// Its memory.
    pub(crate) memory_mib: Option<u64>,
    /// The driver that is bound.
    pub(crate) driver: Option<String>,
    /// NUMA node.
    pub(crate) numa: Option<u32>,
    /// IOMMU group.
    pub(crate) iommu_group: Option<u32>,
    /// The functions that go with it into a machine.
    pub(crate) functions: Vec<String>,
    /// GPUs that cannot be kept apart from it.
    pub(crate) together: Vec<u16>,
    /// Whether a machine can have it.
    pub(crate) machines: CapabilityRecord,
    /// Whether containers can have it.
    pub(crate) containers: CapabilityRecord,
    /// Who has it, as its node's helper knows.
    pub(crate) holders: Vec<HolderRecord>,
    /// The tasks that have it, or what cannot be kept apart from it.
    pub(crate) uses: Vec<GpuUseRecord>,
    /// How it fares; null where nobody tells.
    pub(crate) telemetry: Option<GpuTelemetryRecord>,
}

/// Who has a GPU, or why nobody can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GpuStateRecord {
    /// For programs.
    pub(crate) kind: GpuStateKind,
    /// For people.
    pub(crate) text: String,
}

/// Who has a GPU, or why nobody can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GpuStateKind {
    /// Nobody has it.
    Free,
    /// Containers of the cluster have it.
    Containers,
    /// A machine of the cluster has it.
    Machine,
    /// What cannot be kept apart from it is in use.
    Reserved,
    /// Somebody on its node has it.
    Held,
    /// Neither containers nor machines can have it.
    Unusable,
    /// It is not in its place.
    Absent,
    /// Its node is away, and nobody knows.
    Offline,
}

/// Whether something can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CapabilityRecord {
    /// Whether it can.
    pub(crate) available: bool,
    /// Why it cannot, as a sentence.
    pub(crate) reason: Option<String>,
}

/// Who has a GPU on its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct HolderRecord {
    /// `person`, `machine` or `container`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) user: Option<String>,
    /// Whether nobody else may have the GPU meanwhile.
    pub(crate) exclusive: bool,
    /// For people.
    pub(crate) text: String,
}

/// That a task has a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GpuUseRecord {
    /// The task.
    pub(crate) task: String,
    /// Whose it is.
    pub(crate) owner: String,
    /// Whether it is a machine.
    pub(crate) machine: bool,
    /// Whether nobody else may have the GPU meanwhile.
    pub(crate) exclusive: bool,
    /// The GPU that the task has, where it is another one that cannot be kept apart from this.
    pub(crate) reserved_with: Option<u16>,
}

/// How a GPU fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GpuTelemetryRecord {
    /// How busy it is.
    pub(crate) utilisation_percent: Option<u32>,
    /// Memory in use.
    pub(crate) memory_used_mib: Option<u64>,
    /// Temperature in degrees Celsius.
    pub(crate) temperature_c: Option<i32>,
    /// Power draw in watts.
    pub(crate) power_w: Option<u32>,
    /// Power limit in watts.
    pub(crate) power_limit_w: Option<u32>,
}

impl GpuRecord {
    /// A GPU, as the host shows it.
    pub(crate) fn of(view: GpuView, is_online: bool) -> Self {
        let state = GpuStateRecord::of(&view, is_online);
        let cluster_name = view.cluster_name();
        let gpu = view.gpu;
        Self {
            gpu: cluster_name,
            node: view.node.into(),
            number: gpu.number.get(),
            state,
            name: gpu.name,
            vendor: match gpu.vendor {
                Vendor::Nvidia => "nvidia",
                Vendor::Amd => "amd",
                Vendor::Intel => "intel",
                Vendor::Other => "other",
            },
            id: gpu.id,
            uuid: gpu.uuid,
            present: gpu.present,
            address: gpu.address,
            path: gpu.path,
            memory_mib: gpu.memory_mib,
            driver: gpu.driver,
            numa: gpu.numa,
            iommu_group: gpu.iommu_group,
            functions: gpu.functions,
            together: gpu
                .together
                .into_iter()
                .map(|number| number.get())
                .collect(),
            machines: gpu.vfio.into(),
            containers: gpu.containers.into(),
            holders: gpu.holders.into_iter().map(HolderRecord::from).collect(),
            uses: view.uses.into_iter().map(GpuUseRecord::from).collect(),
            telemetry: view.telemetry.map(|telemetry| GpuTelemetryRecord {
                utilisation_percent: telemetry.utilisation_percent,
                memory_used_mib: telemetry.memory_used_mib,
                temperature_c: telemetry.temperature_c,
                power_w: telemetry.power_w,
                power_limit_w: telemetry.power_limit_w,
            }),
        }
    }
}

impl GpuStateRecord {
    fn new(kind: GpuStateKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    fn of(view: &GpuView, is_online: bool) -> Self {
        let gpu = &view.gpu;
        let reserved = view.uses.iter().find(|using| using.reserved_with.is_some());
        let own: Vec<&GpuUse> = view
            .uses
            .iter()
            .filter(|using| using.reserved_with.is_none())
            .collect();
        let known = if let Some(machine) = own.iter().find(|using| using.machine) {
            let text = format!("in machine {} of {}", machine.task, machine.owner);
            Self::new(GpuStateKind::Machine, text)
        } else if !own.is_empty() {
            Self::new(GpuStateKind::Containers, containers_text(&own))
        } else if let Some((using, with)) =
            reserved.and_then(|using| Some((using, using.reserved_with?)))
        {
            let what = if using.machine {
                "machine"
            } else {
                "container"
            };
            let text = format!(
                "reserved with GPU {with}, for {what} {} of {}",
                using.task, using.owner
            );
            Self::new(GpuStateKind::Reserved, text)
        } else if let Some(holder) = gpu.holders.first() {
            Self::new(GpuStateKind::Held, format!("held by {holder}"))
        } else if !gpu.present {
            Self::new(GpuStateKind::Absent, "not there")
        } else {
            Self::of_nobody(&gpu.vfio, &gpu.containers)
        };
        match (is_online, known.kind) {
            (true, _) => known,
            // What tasks hold they hold, whether their node is there or not.
            (false, GpuStateKind::Machine | GpuStateKind::Containers | GpuStateKind::Reserved) => {
                Self::new(
                    GpuStateKind::Offline,
                    format!("node offline; {}", known.text),
                )
            }
            (false, _) => Self::new(GpuStateKind::Offline, "node offline"),
        }
    }

    /// A GPU that nobody has.
    fn of_nobody(machines: &Capability, containers: &Capability) -> Self {
        let why = |capability: &Capability| match &capability.reason {
            Some(reason) => reason.clone(),
            None => "its node does not tell why".to_owned(),
        };
        match (machines.available, containers.available) {
            (true, true) => Self::new(GpuStateKind::Free, "free"),
            (false, true) => Self::new(
                GpuStateKind::Free,
                format!("free; not passable: {}", why(machines)),
            ),
            (true, false) => Self::new(
                GpuStateKind::Free,
                format!("free for machines; not for containers: {}", why(containers)),
            ),
            (false, false) => Self::new(
                GpuStateKind::Unusable,
                format!(
                    "not passable: {}; not for containers: {}",
                    why(machines),
                    why(containers)
                ),
            ),
        }
    }
}

/// Containers, and whose they are, each user once.
fn containers_text(uses: &[&GpuUse]) -> String {
    let mut owners: Vec<&str> = uses.iter().map(|using| using.owner.as_str()).collect();
    owners.sort_unstable();
    owners.dedup();
    let exclusive = match uses.iter().any(|using| using.exclusive) {
        true => ", exclusively",
        false => "",
    };
    let count = uses.len();
    let plural = if count == 1 { "" } else { "s" };
    format!(
        "{count} container{plural} of {}{exclusive}",
        owners.join(", ")
    )
}

impl From<Capability> for CapabilityRecord {
    fn from(capability: Capability) -> Self {
        Self {
            available: capability.available,
            reason: capability.reason,
        }
    }
}

impl From<Holder> for HolderRecord {
    fn from(holder: Holder) -> Self {
        Self {
            text: holder.to_string(),
            kind: match holder.kind {
                HolderKind::Person => "person",
                HolderKind::Machine => "machine",
                HolderKind::Container => "container",
            },
            name: holder.name,
            user: holder.user,
            exclusive: holder.exclusive,
        }
    }
}

impl From<GpuUse> for GpuUseRecord {
    fn from(using: GpuUse) -> Self {
        Self {
            task: using.task.into(),
            owner: using.owner.into(),
            machine: using.machine,
            exclusive: using.exclusive,
            reserved_with: using.reserved_with.map(|number| number.get()),
        }
    }
}
