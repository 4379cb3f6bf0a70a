//! Records of virtual machines.

use serde::Serialize;
use vfioctl_core::machine::Forward;
use vfioctl_protocol::machine as io;

/// The answers of `vfioctl vm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum VmRecord {
    /// `vm create`, `vm show`, `vm start`, `vm stop`, `vm restart`.
    One {
        /// The machine.
        machine: Box<MachineRecord>,
    },
    /// `vm list`.
    Many(MachinesRecord),
    /// `vm create --plan`.
    Plan {
        /// The plan.
        plan: MachinePlanRecord,
    },
    /// `vm rm`.
    Removed(RemovedRecord),
}

/// `vm list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MachinesRecord {
    /// The machines.
    pub(crate) machines: Vec<MachineRecord>,
}

/// `vm rm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RemovedRecord {
    /// Name of the machine that is forgotten.
    pub(crate) removed: String,
}

/// `vm create --plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MachinePlanRecord {
    /// What is done to devices before it starts, as sentences.
    pub(crate) steps: Vec<String>,
    /// QEMU's command line.
    pub(crate) arguments: Vec<String>,
    /// How long QEMU may take until it answers, in seconds.
    pub(crate) start_timeout_s: i64,
}

/// A machine as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MachineRecord {
    /// Its name.
    pub(crate) name: String,
    /// Number of its user.
    pub(crate) uid: i64,
    /// Name of its user, where there is one.
    pub(crate) user: Option<String>,
    /// `starting`, `running`, `stopping` or `stopped`.
    pub(crate) state: &'static str,
    /// What QEMU says of itself.
    pub(crate) qemu_status: Option<String>,
    /// Process ID of QEMU.
    pub(crate) pid: Option<i64>,
    /// The systemd unit it runs in.
    pub(crate) unit: Option<String>,
    /// When it was started, in seconds since 1970.
    pub(crate) since: i64,
    /// How it ended, as a sentence.
    pub(crate) ended: Option<String>,
    /// What became of its devices, as sentences.
    pub(crate) devices_home: Vec<String>,
    /// What was asked for.
    pub(crate) spec: SpecRecord,
}

/// What a machine shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SpecRecord {
    /// Memory in MiB.
    pub(crate) memory_mib: i64,
    /// Virtual processors.
    pub(crate) cores: i64,
    /// The kernel it starts.
    pub(crate) kernel: Option<KernelRecord>,
    /// The UEFI firmware it starts.
    pub(crate) uefi: Option<UefiRecord>,
    /// Its disks.
    pub(crate) disks: Vec<DiskRecord>,
    /// Addresses of its devices.
    pub(crate) devices: Vec<String>,
    /// `none`, `user` or `stream`.
    pub(crate) network: &'static str,
    /// Ports of this host that lead to ports of the guest.
    pub(crate) forwards: Vec<ForwardRecord>,
    /// Path of the socket of the network process.
    pub(crate) socket: Option<String>,
}

/// A port of this host that leads to a port of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ForwardRecord {
    /// Address of this host.
    pub(crate) address: String,
    /// Port of this host.
    pub(crate) port: i64,
    /// Port of the guest.
    pub(crate) guest_port: i64,
}

/// A kernel given directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KernelRecord {
    /// Path of the image.
    pub(crate) image: String,
    /// Path of the initial ramdisk.
    pub(crate) initrd: Option<String>,
    /// The kernel command line.
    pub(crate) append: Option<String>,
}

/// UEFI firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UefiRecord {
    /// Path of the code.
    pub(crate) code: String,
    /// Path of the variables; null: nothing is kept.
    pub(crate) variables: Option<String>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DiskRecord {
    /// Path of the image or block device.
    pub(crate) path: String,
    /// `raw` or `qcow2`.
    pub(crate) format: &'static str,
    /// Whether the machine may only read it.
    pub(crate) read_only: bool,
}

impl From<io::Info> for MachineRecord {
    fn from(info: io::Info) -> Self {
        Self {
            name: info.name,
            uid: info.uid,
            user: info.user,
            state: match info.state {
                io::Info_state::starting => "starting",
                io::Info_state::running => "running",
                io::Info_state::stopping => "stopping",
                io::Info_state::stopped => "stopped",
            },
            qemu_status: info.qemu_status,
            pid: info.pid,
            unit: info.unit,
            since: info.since,
            ended: info.ended,
            devices_home: info.devices_home,
            spec: info.spec.into(),
        }
    }
}

impl From<io::Spec> for SpecRecord {
    fn from(spec: io::Spec) -> Self {
        let kernel = spec.kernel.map(|kernel| KernelRecord {
            image: kernel.image,
            initrd: kernel.initrd,
            append: kernel.append.filter(|append| !append.is_empty()),
        });
        let uefi = spec.uefi.map(|uefi| UefiRecord {
            code: uefi.code,
            variables: uefi.variables,
        });
        let disks = spec.disks.into_iter().map(|disk| DiskRecord {
            path: disk.path,
            format: match disk.format {
                io::Disk_format::raw => "raw",
                io::Disk_format::qcow2 => "qcow2",
            },
            read_only: disk.read_only.unwrap_or(false),
        });
        let forwards = spec.forwards.into_iter().flatten();
        let forwards = forwards.map(|forward| ForwardRecord {
            address: forward
                .address
                .unwrap_or_else(|| Forward::DEFAULT_ADDRESS.to_string()),
            port: forward.port,
            guest_port: forward.guest_port,
        });
        Self {
            memory_mib: spec.memory_mib,
            cores: spec.cores,
            kernel,
            uefi,
            disks: disks.collect(),
            devices: spec.devices,
            network: match spec.network {
                io::Spec_network::none => "none",
                io::Spec_network::user => "user",
                io::Spec_network::stream => "stream",
            },
            forwards: forwards.collect(),
            socket: spec.socket,
        }
    }
}
