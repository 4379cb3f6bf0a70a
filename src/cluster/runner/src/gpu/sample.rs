//! Machines that do not exist, for tests.

use vfioctl_core::claim::{Claim, Original, Owner, Purpose};
use vfioctl_core::config::HeaderType;
use vfioctl_core::pci::{ClassCode, GroupId, Identity, PciAddress, PciFunction, SriovRole};
use vfioctl_core::{Answer, Snapshot};

pub(super) fn at(address: &str) -> PciAddress {
    address.parse().unwrap()
}

pub(super) fn identity(vendor: u16, device: u16) -> Identity {
    Identity {
        vendor,
        device,
        subsystem_vendor: 0,
        subsystem_device: 0,
    }
}

/// A function that is being made.
#[derive(Clone)]
pub(super) struct Function(PciFunction);

/// A card of NVIDIA's, in no group and without a driver.
pub(super) fn function(address: &str, class: u32) -> Function {
    Function(PciFunction {
        address: at(address),
        identity: identity(0x10de, 0x2684),
        class: ClassCode::new(class).unwrap(),
        revision: 0,
        upstream: None,
        header_type: Answer::Known(HeaderType::Normal),
        multifunction_bit: Answer::Known(false),
        config_bytes_seen: 4096,
        pcie_type: Answer::Known(None),
        acs: Answer::Known(None),
        driver: None,
        driver_override: Answer::Known(None),
        iommu_group: None,
        numa_node: None,
        bars: Vec::new(),
        reset_methods: Vec::new(),
        power_state: None,
        boot_vga: None,
        sriov: SriovRole::None,
        problems: Vec::new(),
    })
}

pub(super) fn bridge(address: &str) -> Function {
    let mut bridge = function(address, 0x06_0400).driver("pcieport");
    bridge.0.header_type = Answer::Known(HeaderType::Bridge);
    bridge
}

impl Function {
    pub(super) fn below(mut self, upstream: &str) -> Self {
        self.0.upstream = Some(at(upstream));
        self
    }

    pub(super) fn driver(mut self, driver: &str) -> Self {
        self.0.driver = Some(driver.parse().unwrap());
        self
    }

    pub(super) fn group(mut self, group: u32) -> Self {
        self.0.iommu_group = Some(GroupId(group));
        self
    }

    pub(super) fn vendor(mut self, vendor: u16) -> Self {
        self.0.identity.vendor = vendor;
        self
    }

    pub(super) fn virtual_of(mut self, physical: &str) -> Self {
        let physical = at(physical);
        self.0.sriov = SriovRole::Virtual { physical };
        self
    }
}

pub(super) fn machine(functions: impl IntoIterator<Item = Function>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for Function(function) in functions {
        snapshot.functions.insert(function.address, function);
    }
    snapshot
}

/// A claim on functions of a machine.
pub(super) fn claim(snapshot: &Snapshot, purpose: Purpose, addresses: &[&str]) -> Claim {
    let original = |address: &&str| Original::of(snapshot.function(at(address)).unwrap());
    Claim {
        owner: Owner { uid: 1001, purpose },
        originals: addresses.iter().map(original).collect(),
        since: 0,
    }
}

/// A machine in a folder, of these files.
pub(super) fn folder_machine(files: &[(&str, &str)]) -> (tempfile::TempDir, vfioctl_scan::SysRoot) {
    let folder = tempfile::tempdir().unwrap();
    for path in ["sys", "proc"] {
        std::fs::create_dir(folder.path().join(path)).unwrap();
    }
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }
    let root = vfioctl_scan::SysRoot::below(folder.path()).unwrap();
    (folder, root)
}
