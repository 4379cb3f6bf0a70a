use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use vfioctl_core::Answer;
use vfioctl_core::check::{
    CpuFacts, Distribution, GpuDriver, KvmNode, Lockdown, MemoryLock, ModuleState,
    VirtualisationFlag,
};
use vfioctl_core::pci::GroupId;

use super::*;

/// A machine in a folder.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.folder("sys").folder("proc");
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn folder(&self, path: &str) -> &Self {
        std::fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn host(&self) -> Host {
        read_host(&SysRoot::below(self.0.path()).unwrap())
    }
}

fn texts(texts: &[&str]) -> Answer<Vec<String>> {
    Answer::Known(texts.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn an_empty_machine_hides_everything_that_can_be_hidden() {
    let host = Machine::new().host();
    // No folder of IOMMUs, of groups and of EFI is what a kernel without them shows.
    let expected = Host {
        iommus: texts(&[]),
        reserved_groups: Answer::Known(BTreeSet::new()),
        secure_boot: Answer::Known(false),
        ..Host::unseen()
    };
    assert_eq!(host, expected);
}

#[test]
fn a_debian_workstation_is_read() {
    let machine = Machine::new();
    machine
        .file("usr/lib/os-release", "ID=debian\n")
        .file("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n")
        .file("proc/cmdline", "root=/dev/sda1 intel_iommu=on\n")
        .file(
            "proc/cpuinfo",
            "vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx\n",
        )
        .file(
            "proc/modules",
            "kvm_intel 1 0 - Live 0x0\nvfio_pci 1 0 - Live 0x0\n",
        )
        .file(
            "proc/self/limits",
            "Max locked memory 8388608 8388608 bytes\n",
        )
        .file(
            "usr/lib/modules/6.1.0-56-amd64/modules.builtin",
            "kernel/arch/x86/kernel/msr.ko\n",
        )
        .file(
            "usr/lib/modules/6.1.0-56-amd64/modules.dep",
            "kernel/drivers/vfio/vfio_iommu_type1.ko: kernel/drivers/vfio/vfio.ko\n\
             kernel/drivers/vfio/pci/vfio-pci.ko:\n",
        )
        .file("dev/kvm", "")
        .file("sys/module/nvidia/version", "535.183.01\n")
        .folder("sys/module/i915/parameters")
        .folder("sys/module/kvm_intel")
        .folder("sys/class/iommu/dmar0")
        .file("sys/firmware/acpi/tables/DMAR", "")
        .file("sys/firmware/acpi/tables/DSDT", "")
        .file(
            "sys/kernel/security/lockdown",
            "none [integrity] confidentiality\n",
        )
        .file(
            "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
            [6, 0, 0, 0, 1],
        )
        .file(
            "sys/kernel/iommu_groups/3/reserved_regions",
            "0x0 0x1 direct\n0x2 0x3 msi\n",
        )
        .file(
            "sys/kernel/iommu_groups/4/reserved_regions",
            "0x0 0x1 direct-relaxable\n",
        )
        .file("usr/share/OVMF/OVMF_CODE_4M.fd", "")
        .file("usr/share/OVMF/OVMF_VARS_4M.fd", "")
        .file("usr/bin/xorriso", "");
    symlink("/etc/alternatives/mkisofs", machine.path("usr/bin/mkisofs")).unwrap();
    let host = machine.host();

    let id = "debian".to_owned();
    assert_eq!(
        host.distribution,
        Distribution {
            id,
            like: Vec::new()
        }
    );
    assert_eq!(
        host.kernel_release,
        Answer::Known("6.1.0-56-amd64".to_owned())
    );
    let cpu = CpuFacts {
        vendor: "GenuineIntel".to_owned(),
        virtualisation: Some(VirtualisationFlag::Vmx),
        is_guest: false,
    };
    assert_eq!(host.cpu, Answer::Known(cpu));
    assert_eq!(host.kvm_node, Answer::Known(KvmNode::Usable));
    assert_eq!(host.iommufd_node, Answer::Known(false));
    assert_eq!(host.modules.vfio_pci, Answer::Known(ModuleState::Loaded));
    assert_eq!(
        host.modules.vfio_iommu_type1,
        Answer::Known(ModuleState::Available)
    );
    assert_eq!(host.modules.iommufd, Answer::Known(ModuleState::Absent));
    let limit = Some(8 << 20);
    let memory_lock = MemoryLock {
        soft_bytes: limit,
        hard_bytes: limit,
    };
    assert_eq!(host.memory_lock, Answer::Known(memory_lock));
    let i915 = GpuDriver {
        name: "i915".to_owned(),
        version: None,
    };
    let nvidia = GpuDriver {
        name: "nvidia".to_owned(),
        version: Some("535.183.01".to_owned()),
    };
    assert_eq!(host.drivers, Answer::Known(vec![i915, nvidia]));
    assert_eq!(host.iommus, texts(&["dmar0"]));
    assert_eq!(host.iommu_tables, texts(&["DMAR"]));
    assert_eq!(host.lockdown, Answer::Known(Some(Lockdown::Integrity)));
    assert_eq!(host.secure_boot, Answer::Known(true));
    assert_eq!(
        host.reserved_groups,
        Answer::Known(BTreeSet::from([GroupId(3)]))
    );
    assert_eq!(
        host.guest_firmware,
        texts(&["/usr/share/OVMF/OVMF_CODE_4M.fd"])
    );
    assert_eq!(
        host.iso_tools,
        texts(&["/usr/bin/mkisofs", "/usr/bin/xorriso"])
    );
}

#[test]
fn an_image_that_only_a_description_names_is_found() {
    let machine = Machine::new();
    let description = r#"{ "interface-types": [ "uefi" ], "mapping": { "device": "flash",
        "executable": { "filename": "/usr/lib/fw/OVMF_CODE.fd", "format": "raw" } },
        "targets": [ { "architecture": "x86_64" } ] }"#;
    machine.file("usr/share/qemu/firmware/60-ovmf.json", description);
    assert_eq!(machine.host().guest_firmware, texts(&[]));
    machine.file("usr/lib/fw/OVMF_CODE.fd", "");
    assert_eq!(
        machine.host().guest_firmware,
        texts(&["/usr/lib/fw/OVMF_CODE.fd"])
    );
}

#[test]
fn symbols_are_read_only_where_the_override_is_given() {
    let machine = Machine::new();
    machine
        .file("proc/kallsyms", "0000 t pcie_acs_overrides\n")
        .file("proc/cmdline", "quiet");
    assert_eq!(machine.host().has_acs_override, Answer::CannotSee);
    machine.file("proc/cmdline", "pcie_acs_override=downstream");
    assert_eq!(machine.host().has_acs_override, Answer::Known(true));
    machine.file("proc/kallsyms", "0000 T _text\n");
    assert_eq!(machine.host().has_acs_override, Answer::Known(false));
    machine.file("proc/kallsyms", "");
    assert_eq!(machine.host().has_acs_override, Answer::CannotSee);
}

#[test]
fn a_securityfs_without_lockdown_has_none() {
    let machine = Machine::new();
    machine.folder("sys/kernel/security");
    assert_eq!(machine.host().lockdown, Answer::CannotSee);
    machine.file("sys/kernel/security/lsm", "capability");
    assert_eq!(machine.host().lockdown, Answer::Known(None));
}

#[test]
fn a_dev_without_kvm_has_none() {
    let machine = Machine::new();
    machine.folder("dev");
    assert_eq!(machine.host().kvm_node, Answer::Known(KvmNode::Absent));
}
