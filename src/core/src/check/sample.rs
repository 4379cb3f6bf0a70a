//! Machines that do not exist, for the tests of the checks.

use std::collections::BTreeSet;

use crate::config::{HeaderType, PcieType};
use crate::pci::{ClassCode, GroupId, Identity, PciFunction, SriovRole};
use crate::{Answer, Problem, Snapshot};

use super::{
    CommandLine, CpuFacts, Distribution, Facts, GpuDriver, HelperState, Host, KvmNode, Lockdown,
    MemoryLock, ModuleState, Modules, ProgramState, Programs, VirtualisationFlag,
};

/// A machine on which everything is in order: an Intel GPU, an NVIDIA card with its audio, a disk.
pub(super) fn good() -> Facts {
    let mut snapshot = Snapshot::default();
    for function in [
        function("0000:00:02.0", 0x8086, 0x03_0000, 1, "i915"),
        function("0000:00:17.0", 0x8086, 0x01_0601, 7, "ahci"),
        function("0000:01:00.0", 0x10de, 0x03_0000, 15, "nvidia"),
        function("0000:01:00.1", 0x10de, 0x04_0300, 15, "snd_hda_intel"),
    ] {
        snapshot.functions.insert(function.address, function);
    }
    Facts {
        snapshot,
        claims: Answer::Known(Vec::new()),
        host: good_host(),
        programs: Programs {
            qemu: ProgramState::Answered("QEMU emulator version 7.2.13 (Debian)".to_owned()),
            qemu_img: ProgramState::Answered("qemu-img version 7.2.13 (Debian)".to_owned()),
        },
        helper: HelperState::Answers {
            version: "0.1.0".to_owned(),
            level: 1,
        },
    }
}

fn good_host() -> Host {
    let loaded = Answer::Known(ModuleState::Loaded);
    let driver = |name: &str, version: Option<&str>| GpuDriver {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    };
    Host {
        distribution: Distribution {
            id: "debian".to_owned(),
            like: Vec::new(),
        },
        kernel_release: Answer::Known("6.1.0-56-amd64".to_owned()),
        command_line: Answer::Known(CommandLine::new("root=/dev/sda1 intel_iommu=on quiet")),
        cpu: Answer::Known(CpuFacts {
            vendor: "GenuineIntel".to_owned(),
            virtualisation: Some(VirtualisationFlag::Vmx),
            is_guest: false,
        }),
        kvm_node: Answer::Known(KvmNode::Usable),
        modules: Modules {
            vfio_pci: loaded,
            vfio_iommu_type1: loaded,
            iommufd: Answer::Known(ModuleState::Absent),
            kvm_intel: loaded,
            kvm_amd: Answer::Known(ModuleState::Available),
        },
        iommufd_node: Answer::Known(false),
        iommus: Answer::Known(vec!["dmar0".to_owned(), "dmar1".to_owned()]),
        iommu_tables: Answer::Known(vec!["DMAR".to_owned()]),
        reserved_groups: Answer::Known(BTreeSet::new()),
        has_acs_override: Answer::CannotSee,
        memory_lock: Answer::Known(MemoryLock {
            soft_bytes: None,
            hard_bytes: None,
        }),
        lockdown: Answer::Known(Some(Lockdown::None)),
        secure_boot: Answer::Known(false),
        drivers: Answer::Known(vec![
            driver("i915", None),
            driver("nvidia", Some("535.183.01")),
        ]),
        guest_firmware: Answer::Known(vec!["/usr/share/OVMF/OVMF_CODE_4M.fd".to_owned()]),
        iso_tools: Answer::Known(vec!["/usr/bin/xorriso".to_owned()]),
    }
}

/// A machine as it comes out of the box: nothing switched on, nothing installed.
pub(super) fn bare() -> Facts {
    bare_on("debian")
}

/// The same, with another distribution.
pub(super) fn bare_on(distribution: &str) -> Facts {
    let mut facts = good();
    for function in facts.snapshot.functions.values_mut() {
        function.iommu_group = None;
    }
    let available = Answer::Known(ModuleState::Available);
    let host = &mut facts.host;
    host.distribution.id = distribution.to_owned();
    host.command_line = Answer::Known(CommandLine::new("quiet"));
    host.cpu = Answer::Known(CpuFacts {
        vendor: "GenuineIntel".to_owned(),
        virtualisation: None,
        is_guest: false,
    });
    host.kvm_node = Answer::Known(KvmNode::Absent);
    host.modules.vfio_pci = available;
    host.modules.vfio_iommu_type1 = Answer::Known(ModuleState::Absent);
    host.modules.iommufd = available;
    host.iommus = Answer::Known(Vec::new());
    host.iommu_tables = Answer::Known(Vec::new());
    let limit = Some(8 << 20);
    host.memory_lock = Answer::Known(MemoryLock {
        soft_bytes: limit,
        hard_bytes: limit,
    });
    host.guest_firmware = Answer::Known(Vec::new());
    host.iso_tools = Answer::Known(Vec::new());
    facts.programs = Programs {
        qemu: ProgramState::NotFound,
        qemu_img: ProgramState::NotFound,
    };
    facts.helper = HelperState::NotRunning;
    facts.claims = Answer::CannotSee;
    facts
}

/// A machine that shows nothing of itself.
pub(super) fn unseen() -> Facts {
    let problem = Problem {
        subject: "/sys/bus/pci".to_owned(),
        because: "denied".to_owned(),
    };
    Facts {
        snapshot: Snapshot {
            problems: vec![problem],
            ..Snapshot::default()
        },
        claims: Answer::CannotSee,
        host: Host::unseen(),
        programs: Programs {
            qemu: ProgramState::TimedOut,
            qemu_img: ProgramState::TimedOut,
        },
        helper: HelperState::Unknown,
    }
}

fn function(address: &str, vendor: u16, class: u32, group: u32, driver: &str) -> PciFunction {
    PciFunction {
        address: address.parse().unwrap(),
        identity: Identity {
            vendor,
            device: 1,
            subsystem_vendor: 0,
            subsystem_device: 0,
        },
        class: ClassCode::new(class).unwrap(),
        revision: 0,
        upstream: None,
        header_type: Answer::Known(HeaderType::Normal),
        multifunction_bit: Answer::Known(false),
        config_bytes_seen: 4096,
        pcie_type: Answer::Known(Some(PcieType::Endpoint)),
        acs: Answer::Known(None),
        driver: Some(driver.parse().unwrap()),
        driver_override: Answer::Known(None),
        iommu_group: Some(GroupId(group)),
        numa_node: None,
        bars: Vec::new(),
        reset_methods: Vec::new(),
        power_state: None,
        boot_vga: None,
        sriov: SriovRole::None,
        problems: Vec::new(),
    }
}
