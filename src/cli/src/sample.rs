//! Machines that do not exist, for tests.

use vfioctl_core::acs::Acs;
use vfioctl_core::claim::{Claim, Container, Original, Owner, Purpose};
use vfioctl_core::config::{HeaderType, PcieType};
use vfioctl_core::pci::{
    Bar, BarKind, ClassCode, GroupId, Identity, PciAddress, PciFunction, SriovRole,
};
use vfioctl_core::pin::Pin;
use vfioctl_core::{Answer, HostUse, Snapshot};

use crate::seen::{Seen, SeenBy, SeenClaim, SeenPin};

/// Number of the user who looks.
pub(crate) const UID: u32 = 1000;

/// A function with a vendor, a device and a class, and nothing else.
pub(crate) fn function(address: &str, vendor: u16, device: u16, class: u32) -> PciFunction {
    PciFunction {
        address: address.parse().unwrap(),
        identity: Identity {
            vendor,
            device,
            subsystem_vendor: 0,
            subsystem_device: 0,
        },
        class: ClassCode::new(class).unwrap(),
        revision: 0xa1,
        upstream: None,
        header_type: Answer::Known(HeaderType::Normal),
        multifunction_bit: Answer::Known(false),
        config_bytes_seen: 4096,
        pcie_type: Answer::Known(Some(PcieType::Endpoint)),
        acs: Answer::Known(None),
        driver: None,
        driver_override: Answer::Known(None),
        iommu_group: None,
        numa_node: None,
        bars: Vec::new(),
        reset_methods: Vec::new(),
        power_state: Some("D0".into()),
        boot_vga: None,
        sriov: SriovRole::None,
        problems: Vec::new(),
    }
}

fn root_port(address: &str, group: u32, acs: Option<Acs>) -> PciFunction {
    PciFunction {
        header_type: Answer::Known(HeaderType::Bridge),
        pcie_type: Answer::Known(Some(PcieType::RootPort)),
        acs: Answer::Known(acs),
        driver: "pcieport".parse().ok(),
        iommu_group: Some(GroupId(group)),
        ..function(address, 0x8086, 0x1901, 0x06_0400)
    }
}

fn claim(functions: &[&PciFunction], owner: Owner, user: &str) -> SeenClaim {
    let originals = functions.iter().map(|function| Original {
        driver: None,
        ..Original::of(function)
    });
    let claim = Claim {
        owner,
        originals: originals.collect(),
        since: 1_800_000_000,
    };
    SeenClaim {
        claim,
        user: Some(user.into()),
    }
}

/// A desktop: one GPU of the user who looks, one that bob's machine has, the disk of the host
/// with a companion in its group, and a device that no IOMMU covers.
pub(crate) fn desktop() -> Seen {
    let below =
        |address: &str, port: &str, group, ids: (u16, u16), class, driver: &str| PciFunction {
            upstream: port.parse().ok(),
            iommu_group: Some(GroupId(group)),
            driver: driver.parse().ok(),
            ..function(address, ids.0, ids.1, class)
        };
    let (first, second) = ("0000:00:01.0", "0000:00:02.0");
    let mut gpu = below(
        "0000:01:00.0",
        first,
        12,
        (0x10de, 0x2684),
        0x03_0000,
        "vfio-pci",
    );
    gpu.boot_vga = Some(true);
    gpu.numa_node = Some(0);
    gpu.reset_methods = vec!["flr".into(), "bus".into()];
    gpu.driver_override = Answer::Known(Some("vfio-pci".into()));
    gpu.bars = vec![
        window(0, BarKind::Memory32, false, 16 << 20),
        window(1, BarKind::Memory64, true, 16 << 30),
        window(5, BarKind::Io, false, 128),
    ];
    let audio = below(
        "0000:01:00.1",
        first,
        12,
        (0x10de, 0x22ba),
        0x04_0300,
        "snd_hda_intel",
    );
    let other = below(
        "0000:02:00.0",
        second,
        13,
        (0x1002, 0x744c),
        0x03_0000,
        "vfio-pci",
    );
    let disk = below(
        "0000:03:00.0",
        "0000:00:03.0",
        14,
        (0x144d, 0xa80a),
        0x01_0802,
        "nvme",
    );
    let usb = below(
        "0000:03:00.1",
        "0000:00:03.0",
        14,
        (0x1b21, 0x2142),
        0x0c_0330,
        "xhci_hcd",
    );
    let claims = vec![
        claim(&[&gpu, &audio], Owner::person(UID), "ann"),
        claim(
            &[&other],
            Owner {
                uid: 1001,
                purpose: Purpose::Machine("win".parse().unwrap()),
            },
            "bob",
        ),
    ];
    let functions = [
        PciFunction {
            iommu_group: Some(GroupId(0)),
            pcie_type: Answer::Known(Some(PcieType::RootComplexEndpoint)),
            ..function("0000:00:00.0", 0x8086, 0x3ec2, 0x06_0000)
        },
        root_port(first, 1, Some(Acs::new(0x1f, 0x1d))),
        root_port(second, 2, Some(Acs::new(0x1f, 0x11))),
        root_port("0000:00:03.0", 14, None),
        gpu,
        audio,
        other,
        disk,
        usb,
        function("0000:04:00.0", 0x10ec, 0x8168, 0x02_0000),
    ];
    let root = HostUse::Disk {
        mount_point: "/".into(),
    };
    let snapshot = Snapshot {
        functions: functions
            .map(|function| (function.address, function))
            .into(),
        host_uses: [("0000:03:00.0".parse::<PciAddress>().unwrap(), vec![root])].into(),
        ..Snapshot::default()
    };
    Seen {
        snapshot,
        claims: Answer::Known(claims),
        pins: Answer::Known(Vec::new()),
        by: SeenBy::Helper,
        uid: UID,
        index: std::cell::OnceCell::new(),
    }
}

/// The same desktop with ann's card pinned, and a pin of hers for a card that is another one now.
pub(crate) fn desktop_pinned() -> Seen {
    let mut seen = desktop();
    let first = seen.known_claims().next().cloned().unwrap();
    let pin = |claim: &Claim, problem: Option<&str>| SeenPin {
        pin: Pin::of(claim, 1_800_000_000).unwrap(),
        user: Some("ann".into()),
        problem: problem.map(str::to_owned),
    };
    let mut lost = first.clone();
    lost.originals.truncate(1);
    lost.originals[0].address = "0000:04:00.0".parse().unwrap();
    let problem = "0000:04:00.0 is now 10ec:8168, not 10de:2684; left alone";
    seen.pins = Answer::Known(vec![pin(&first, None), pin(&lost, Some(problem))]);
    seen
}

/// A claim of a container that the user 'runner' runs.
pub(crate) fn container_claim(
    snapshot: &Snapshot,
    address: &str,
    name: &str,
    user: Option<&str>,
    exclusive: bool,
) -> SeenClaim {
    let function = snapshot.function(address.parse().unwrap()).unwrap();
    let purpose = Purpose::Container(Container {
        name: name.parse().unwrap(),
        exclusive,
        user: user.map(|user| user.parse().unwrap()),
    });
    claim(&[function], Owner { uid: 990, purpose }, "runner")
}

/// The same desktop with bob's card, and its audio function, on their own drivers: three containers
/// share the card, and one has the device that no IOMMU covers for itself.
pub(crate) fn desktop_shared() -> Seen {
    let mut seen = desktop();
    let gpu: PciAddress = "0000:02:00.0".parse().unwrap();
    let mut card = seen.snapshot.functions.remove(&gpu).unwrap();
    card.driver = "amdgpu".parse().ok();
    let audio = PciFunction {
        iommu_group: card.iommu_group,
        driver: "snd_hda_intel".parse().ok(),
        ..function("0000:02:00.1", 0x1002, 0xab30, 0x04_0300)
    };
    for function in [card, audio] {
        seen.snapshot.functions.insert(function.address, function);
    }
    let Answer::Known(claims) = &mut seen.claims else {
        return seen;
    };
    claims.truncate(1);
    for (name, user) in [("a", "bob"), ("b", "cid"), ("c", "dan")] {
        let address = "0000:02:00.0";
        claims.push(container_claim(
            &seen.snapshot,
            address,
            name,
            Some(user),
            false,
        ));
    }
    claims.push(container_claim(
        &seen.snapshot,
        "0000:04:00.0",
        "z",
        None,
        true,
    ));
    seen
}

/// The same desktop without the helper, by a user without privilege.
pub(crate) fn desktop_unseen() -> Seen {
    let mut seen = desktop();
    for function in seen.snapshot.functions.values_mut() {
        function.config_bytes_seen = 64;
        function.acs = Answer::CannotSee;
        function.pcie_type = Answer::CannotSee;
    }
    Seen {
        claims: Answer::CannotSee,
        pins: Answer::CannotSee,
        by: SeenBy::User,
        ..seen
    }
}

fn window(index: u8, kind: BarKind, prefetchable: bool, size_bytes: u64) -> Bar {
    Bar {
        index,
        kind,
        prefetchable,
        size_bytes,
    }
}
