//! Room: what a node has, what is taken of it and by whom.

use memchr::memmem::Finder;
use vfioctl_api::{
    Backend, Capability, Gpu, GpuNumber, GpuRequest, NodeName, NodeReport, Submission, Target,
    TaskId, UserName,
};

use crate::allocation::{Allocation, Share, Use};
use crate::fit::check_gpu;

/// What a task needs of a node.
#[derive(Debug, Clone)]
pub struct Demand<'a> {
    /// The node and what it names there.
    pub target: Option<&'a Target>,
    /// GPUs that are described.
    pub described: Option<&'a GpuRequest>,
    /// Finds the part of their model's name that is asked for, in lower case. It is made once, and
    /// asked for every kind of GPU in the cluster.
    pub(crate) model: Option<Finder<'static>>,
    /// How GPUs are used.
    pub gpu_use: Use,
    /// Processors.
    pub cores: u32,
    /// Memory in MiB, where it is named.
    memory_mib: Option<u64>,
    /// The image that a machine needs, where it names one.
    pub image: Option<&'a vfioctl_api::ImageName>,
}

impl<'a> Demand<'a> {
    /// What a submission needs.
    pub fn of(submission: &'a Submission) -> Self {
        let image = match &submission.backend {
            Backend::Machine(machine) => machine.image.as_ref(),
            Backend::Container(_) => None,
        };
        Self {
            target: submission.target.as_ref(),
            described: submission.gpus.as_ref(),
            model: submission
                .gpus
                .as_ref()
                .and_then(|gpus| gpus.model.as_ref())
                .map(|model| Finder::new(&model.to_lowercase()).into_owned()),
            gpu_use: Use::of(submission.is_machine(), submission.gpu_mode),
            cores: submission.cores,
            memory_mib: submission.memory.map(vfioctl_api::MemorySize::mib),
            image,
        }
    }

    /// Memory that is set aside for it on a node, in MiB. A container without a limit has none set
    /// aside; a machine takes the node's default.
    pub fn memory_on(&self, room: &Room) -> u64 {
        match self.memory_mib {
            Some(mib) => mib,
            None if self.is_machine() => room.default_machine_mib,
            None => 0,
        }
    }

    /// Whether it is a machine.
    pub fn is_machine(&self) -> bool {
        self.gpu_use == Use::Machine
    }

    /// The GPUs that are named.
    pub fn named(&self) -> &'a [GpuNumber] {
        self.target.map_or(&[], |target| &target.gpus)
    }

    /// How many GPUs it needs.
    pub fn gpu_count(&self) -> usize {
        self.named().len() + self.described.map_or(0, |gpus| usize::from(gpus.count))
    }
}

/// A node: what it has, and what is taken.
#[derive(Debug, Clone)]
pub struct Room {
    /// The node.
    pub node: NodeName,
    /// Whether it is there.
    pub is_online: bool,
    /// Whether nothing new is placed on it.
    pub is_drained: bool,
    pub(crate) cores: u32,
    pub(crate) cores_free: u32,
    pub(crate) memory_mib: u64,
    pub(crate) memory_free_mib: u64,
    pub(crate) default_machine_mib: u64,
    pub(crate) numa: Vec<u32>,
    pub(crate) images: Vec<vfioctl_api::ImageName>,
    pub(crate) has_default_image: bool,
    pub(crate) containers: Capability,
    pub(crate) machines: Capability,
    pub(crate) gpus: Vec<GpuRoom>,
    /// GPUs that nothing has.
    pub(crate) gpus_free: usize,
    /// Its GPUs by kind, so that most questions are answered without looking at each.
    pub(crate) kinds: Vec<GpuKind>,
}

/// GPUs of one model on a node.
#[derive(Debug, Clone)]
pub(crate) struct GpuKind {
    /// In lower case.
    pub(crate) name: String,
    pub(crate) memory_mib: Option<u64>,
    /// How many there are.
    pub(crate) all: usize,
    /// How many could be had that nobody has: by containers, by machines.
    idle_in_containers: usize,
    idle_in_machines: usize,
}

impl GpuKind {
    /// How many could be had in this way that nobody has.
    pub(crate) fn idle(&self, machines: bool) -> usize {
        if machines {
            self.idle_in_machines
        } else {
            self.idle_in_containers
        }
    }
}

/// A GPU, and who has it.
#[derive(Debug, Clone)]
pub struct GpuRoom {
    pub(crate) number: GpuNumber,
    pub(crate) is_present: bool,
    /// In lower case.
    pub(crate) name: String,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) containers: Capability,
    pub(crate) vfio: Capability,
    pub(crate) together: Vec<GpuNumber>,
    pub(crate) holders: Vec<HeldBy>,
}

/// That a task has a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub owner: UserName,
    /// How it uses it.
    pub gpu_use: Use,
}

/// Memory that is left to the node itself: a guest that has all of it takes the node down. A
/// sixteenth, and no more than 4 GiB.
fn reserved_mib(total: u64) -> u64 {
    (total / 16).min(4096)
}

impl Room {
    /// The room of a node.
    pub fn new(
        node: &NodeName,
        report: &NodeReport,
        allocation: &Allocation,
        is_online: bool,
        is_drained: bool,
    ) -> Self {
        let memory_mib = report
            .memory
            .mib()
            .saturating_sub(reserved_mib(report.memory.mib()));
        let mut room = Self {
            node: node.clone(),
            is_online,
            is_drained,
            cores: report.cores,
            cores_free: report.cores,
            memory_mib,
            memory_free_mib: memory_mib,
            default_machine_mib: report.default_machine_memory.mib(),
            numa: report.numa.iter().map(|numa| numa.number).collect(),
            images: report
                .images
                .iter()
                .map(|image| image.name.clone())
                .collect(),
            has_default_image: report.default_image.is_some(),
            containers: report.containers.clone(),
            machines: report.machines.clone(),
            gpus: report.gpus.iter().map(GpuRoom::of).collect(),
            gpus_free: 0,
            kinds: Vec::new(),
        };
        room.forget_own_work(report);
        room.with(allocation)
    }

    /// The same node, with what these shares leave of it.
    #[must_use]
    pub fn taken_by(&self, allocation: &Allocation) -> Self {
        self.clone().with(allocation)
    }

    fn with(mut self, allocation: &Allocation) -> Self {
        self.cores_free = self.cores;
        self.memory_free_mib = self.memory_mib;
        for gpu in &mut self.gpus {
            gpu.holders.clear();
        }
        for (task, share) in &allocation.shares {
            self.hold(task, share);
        }
        self.count();
        self
    }

    /// Where the cluster's own work has a GPU, or one that goes with it, the node says that the GPU cannot
    /// be had, and says so until it has looked again. What that work has is in the allocation; and where
    /// there is another reason too, the node's helper refuses.
    fn forget_own_work(&mut self, report: &NodeReport) {
        let is_own = |gpu: &&Gpu| gpu.holders.iter().any(|holder| holder.task().is_some());
        let own: Vec<GpuNumber> = report
            .gpus
            .iter()
            .filter(is_own)
            .map(|gpu| gpu.number)
            .collect();
        for gpu in &mut self.gpus {
            if own.contains(&gpu.number) || gpu.together.iter().any(|mate| own.contains(mate)) {
                gpu.vfio = Capability::yes();
                gpu.containers = Capability::yes();
            }
        }
    }

    /// Takes room for a task.
    pub fn take(&mut self, task: &TaskId, share: &Share) {
        self.hold(task, share);
        self.count();
    }

    fn hold(&mut self, task: &TaskId, share: &Share) {
        self.cores_free = self.cores_free.saturating_sub(share.cores);
        self.memory_free_mib = self.memory_free_mib.saturating_sub(share.memory_mib);
        for gpu in &mut self.gpus {
            if share.gpus.contains(&gpu.number) {
                gpu.holders.push(HeldBy {
                    task: task.clone(),
                    owner: share.owner.clone(),
                    gpu_use: share.gpu_use,
                });
            }
        }
    }

    /// Counts what is free, after something has changed.
    fn count(&mut self) {
        let is_free = |gpu: &&GpuRoom| gpu.is_present && gpu.holders.is_empty();
        self.gpus_free = self.gpus.iter().filter(is_free).count();
        let mut kinds: Vec<GpuKind> = Vec::new();
        for gpu in &self.gpus {
            let is_idle = |gpu_use| gpu.holders.is_empty() && check_gpu(self, gpu, gpu_use).is_ok();
            let containers = usize::from(is_idle(Use::Exclusive));
            let machines = usize::from(is_idle(Use::Machine));
            let is_same =
                |kind: &&mut GpuKind| kind.name == gpu.name && kind.memory_mib == gpu.memory_mib;
            match kinds.iter_mut().find(is_same) {
                Some(kind) => {
                    kind.all += 1;
                    kind.idle_in_containers += containers;
                    kind.idle_in_machines += machines;
                }
                None => kinds.push(GpuKind {
                    name: gpu.name.clone(),
                    memory_mib: gpu.memory_mib,
                    all: 1,
                    idle_in_containers: containers,
                    idle_in_machines: machines,
                }),
            }
        }
        self.kinds = kinds;
    }

    /// Whether it can run machines, or containers.
    pub(crate) fn capability(&self, machines: bool) -> &Capability {
        if machines {
            &self.machines
        } else {
            &self.containers
        }
    }

    /// A GPU by its number.
    pub fn gpu(&self, number: GpuNumber) -> Option<&GpuRoom> {
        self.gpus.iter().find(|gpu| gpu.number == number)
    }

    /// Its GPUs.
    pub fn gpus(&self) -> &[GpuRoom] {
        &self.gpus
    }
}

impl GpuRoom {
    fn of(gpu: &Gpu) -> Self {
        Self {
            number: gpu.number,
            is_present: gpu.present,
            name: gpu.name.to_lowercase(),
            memory_mib: gpu.memory_mib,
            containers: gpu.containers.clone(),
            vfio: gpu.vfio.clone(),
            together: gpu.together.clone(),
            holders: Vec::new(),
        }
    }

    /// Whether machines can have it, or containers.
    pub(crate) fn capability(&self, machines: bool) -> &Capability {
        if machines {
            &self.vfio
        } else {
            &self.containers
        }
    }

    /// Who has it.
    pub fn holders(&self) -> &[HeldBy] {
        &self.holders
    }

    /// GPUs that cannot be kept apart from it.
    pub fn together(&self) -> &[GpuNumber] {
        &self.together
    }
}
