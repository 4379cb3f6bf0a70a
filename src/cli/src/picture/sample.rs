//! Machines that do not exist, for pictures.

use vfioctl_core::acs::{Acs, Platform};
use vfioctl_core::config::{HeaderType, PcieType};
use vfioctl_core::iommu::{Topology, predict};
use vfioctl_core::pci::{GroupId, PciAddress, PciFunction};
use vfioctl_core::{Answer, HostUse, Snapshot};

use crate::sample::function;

pub(super) const ON: Option<Acs> = Some(Acs::new(0x5f, 0x1d));
pub(super) const OFF: Option<Acs> = Some(Acs::new(0x5f, 0));
const GPU: (u16, u16, u32) = (0x10de, 0x2684, 0x03_0000);
const AUDIO: (u16, u16, u32) = (0x10de, 0x22ba, 0x04_0300);
const BOCHS: (u16, u16, u32) = (0x1234, 0x1111, 0x03_8000);
const HDA: (u16, u16, u32) = (0x8086, 0x293e, 0x04_0300);
const NVME: (u16, u16, u32) = (0x144d, 0xa80a, 0x01_0802);
const NIC: (u16, u16, u32) = (0x15b3, 0x101d, 0x02_0000);

pub(super) fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

pub(super) fn port(address: &str, upstream: &str, kind: PcieType, acs: Option<Acs>) -> PciFunction {
    let ids = match kind {
        PcieType::RootPort => (0x8086, 0x1901),
        _ => (0x10b5, 0x8747),
    };
    PciFunction {
        upstream: upstream.parse().ok(),
        header_type: Answer::Known(HeaderType::Bridge),
        multifunction_bit: Answer::Known(!address.ends_with(".0") || kind == PcieType::RootPort),
        pcie_type: Answer::Known(Some(kind)),
        acs: Answer::Known(acs),
        driver: "pcieport".parse().ok(),
        ..function(address, ids.0, ids.1, 0x06_0400)
    }
}

pub(super) fn root_port(address: &str, acs: Option<Acs>) -> PciFunction {
    port(address, "", PcieType::RootPort, acs)
}

pub(super) fn card(
    address: &str,
    upstream: &str,
    (vendor, device, class): (u16, u16, u32),
    driver: &str,
) -> PciFunction {
    PciFunction {
        upstream: upstream.parse().ok(),
        driver: driver.parse().ok(),
        ..function(address, vendor, device, class)
    }
}

fn gpu(slot: &str, upstream: &str) -> [PciFunction; 2] {
    let both = |mut function: PciFunction| {
        function.multifunction_bit = Answer::Known(true);
        function
    };
    [
        both(card(&format!("{slot}.0"), upstream, GPU, "nvidia")),
        both(card(&format!("{slot}.1"), upstream, AUDIO, "snd_hda_intel")),
    ]
}

fn plumbing(address: &str, device: u16, class: u32) -> PciFunction {
    PciFunction {
        pcie_type: Answer::Known(Some(PcieType::RootComplexEndpoint)),
        multifunction_bit: Answer::Known(address.contains("1f.")),
        ..function(address, 0x8086, device, class)
    }
}

pub(super) fn machine(functions: Vec<PciFunction>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for function in functions {
        snapshot.functions.insert(function.address, function);
    }
    snapshot
}

/// Puts functions into the groups that a boot makes.
pub(super) fn booted(mut snapshot: Snapshot) -> Snapshot {
    let prediction = predict(&Topology::of(&snapshot), &Platform::default());
    for (number, group) in (0..).zip(&prediction.groups) {
        for address in group {
            let function = snapshot.functions.get_mut(address).unwrap();
            function.iommu_group = Some(GroupId(number));
        }
    }
    snapshot
}

/// The machine of `tests/lab/machine.args`.
pub(super) fn lab() -> Snapshot {
    let mut functions = vec![
        plumbing("00:00.0", 0x29c0, 0x06_0000),
        root_port("00:04.0", ON),
        root_port("00:04.1", ON),
        root_port("00:05.0", None),
        root_port("00:05.1", None),
        root_port("00:06.0", ON),
        root_port("00:07.0", ON),
        root_port("00:07.1", ON),
        root_port("00:07.2", ON),
        root_port("00:08.0", ON),
        root_port("00:08.1", ON),
        port("05:00.0", "00:06.0", PcieType::UpstreamPort, None),
        port("06:00.0", "05:00.0", PcieType::DownstreamPort, None),
        port("06:01.0", "05:00.0", PcieType::DownstreamPort, None),
        card("09:00.0", "00:07.0", (0x1234, 0x11e8, 0x00_ff00), ""),
        card("0b:00.0", "00:07.2", (0x8086, 0x10d3, 0x02_0000), "e1000e"),
        card(
            "0c:00.0",
            "00:08.0",
            (0x1af4, 0x1042, 0x01_0000),
            "virtio-pci",
        ),
        card(
            "0d:00.0",
            "00:08.1",
            (0x1af4, 0x1041, 0x02_0000),
            "virtio-pci",
        ),
    ];
    for (address, above) in [("01:00", "00:04.0"), ("02:00", "00:04.1")] {
        for (number, what) in [(0, BOCHS), (1, HDA)] {
            let mut card = card(&format!("{address}.{number}"), above, what, "bochs-drm");
            card.multifunction_bit = Answer::Known(true);
            functions.push(card);
        }
    }
    for (address, above) in [
        ("03:00.0", "00:05.0"),
        ("04:00.0", "00:05.1"),
        ("07:00.0", "06:00.0"),
        ("08:00.0", "06:01.0"),
    ] {
        functions.push(card(address, above, BOCHS, "bochs-drm"));
    }
    let mut snapshot = booted(machine(functions));
    // The second host bridge bypasses the IOMMU.
    let mut bridge = port("80:00.0", "", PcieType::RootPort, None);
    bridge.pcie_type = Answer::Known(None);
    for function in [bridge, card("81:00.0", "80:00.0", BOCHS, "bochs-drm")] {
        snapshot.functions.insert(function.address, function);
    }
    // Linux groups by what is above the port only where that is not the port's own switch.
    for (address, group) in [
        ("06:00.0", 90),
        ("07:00.0", 90),
        ("06:01.0", 91),
        ("08:00.0", 91),
    ] {
        let function = snapshot.functions.get_mut(&at(address)).unwrap();
        function.iommu_group = Some(GroupId(group));
    }
    for (address, of_host) in [
        (
            "0c:00.0",
            HostUse::Disk {
                mount_point: "/srv".into(),
            },
        ),
        (
            "0d:00.0",
            HostUse::Network {
                interface: "enp13s0".into(),
            },
        ),
    ] {
        snapshot.host_uses.insert(at(address), vec![of_host]);
    }
    snapshot
}

/// Two GPUs behind ports of the processor that lack ACS: one group.
pub(super) fn workstation() -> Snapshot {
    let mut functions = vec![
        plumbing("00:00.0", 0x3ec2, 0x06_0000),
        root_port("00:01.0", None),
        root_port("00:01.1", None),
        plumbing("00:02.0", 0x3e92, 0x03_0000),
        plumbing("00:14.0", 0xa36d, 0x0c_0330),
        plumbing("00:16.0", 0xa360, 0x07_8000),
        plumbing("00:17.0", 0xa352, 0x01_0601),
        root_port("00:1b.0", ON),
        root_port("00:1c.0", ON),
        root_port("00:1d.0", ON),
        plumbing("00:1f.0", 0xa305, 0x06_0100),
        plumbing("00:1f.3", 0xa348, 0x04_0300),
        plumbing("00:1f.4", 0xa323, 0x0c_0500),
        plumbing("00:1f.5", 0xa324, 0x0c_8000),
        card("03:00.0", "00:1b.0", NVME, "nvme"),
        card("04:00.0", "00:1c.0", (0x8086, 0x1533, 0x02_0000), "igb"),
    ];
    functions.extend(gpu("01:00", "00:01.0"));
    functions.extend(gpu("02:00", "00:01.1"));
    let mut snapshot = booted(machine(functions));
    for (address, of_host) in [
        (
            "03:00.0",
            HostUse::Disk {
                mount_point: "/".into(),
            },
        ),
        (
            "00:14.0",
            HostUse::Keyboard {
                name: "<K & \"B\">".into(),
            },
        ),
        ("00:02.0", HostUse::Console),
    ] {
        snapshot.host_uses.insert(at(address), vec![of_host]);
    }
    snapshot
}

/// Eight GPUs behind a switch whose ports lack ACS, in one group with it.
pub(super) fn eight() -> Snapshot {
    let mut functions = vec![
        root_port("00:01.0", OFF),
        root_port("00:02.0", ON),
        root_port("00:03.0", ON),
        port("01:00.0", "00:01.0", PcieType::UpstreamPort, None),
        card("20:00.0", "00:02.0", NIC, "mlx5_core"),
    ];
    for number in 0..8 {
        let above = format!("02:{number:02x}.0");
        functions.push(port(&above, "01:00.0", PcieType::DownstreamPort, None));
        functions.push(card(
            &format!("{:02x}:00.0", number + 3),
            &above,
            (0x10de, 0x2330, 0x03_0200),
            "nvidia",
        ));
    }
    booted(machine(functions))
}

/// A server with 150 functions and more: four GPUs, sixteen disks, plumbing, virtual functions.
pub(super) fn server() -> Snapshot {
    let mut functions = Vec::new();
    for bus in [0x00, 0x20, 0x40, 0x60] {
        for device in 0x08..0x10 {
            for number in 0..2 {
                let address = format!("{bus:02x}:{device:02x}.{number}");
                let mut function = plumbing(&address, 0x09a2, 0x08_8000);
                function.multifunction_bit = Answer::Known(false);
                functions.push(function);
            }
        }
        functions.push(root_port(&format!("{bus:02x}:01.0"), ON));
        let upstream = format!("{:02x}:00.0", bus + 1);
        let above = format!("{bus:02x}:01.0");
        functions.push(port(&upstream, &above, PcieType::UpstreamPort, None));
        for number in 0..2 {
            let acs = if bus == 0x40 { None } else { ON };
            let port_at = format!("{:02x}:{number:02x}.0", bus + 2);
            functions.push(port(&port_at, &upstream, PcieType::DownstreamPort, acs));
            functions.extend(gpu(&format!("{:02x}:00", bus + 3 + number), &port_at));
        }
        for number in 0..4 {
            let port_at = format!("{bus:02x}:{:02x}.0", number + 2);
            functions.push(root_port(&port_at, ON));
            functions.push(card(
                &format!("{:02x}:00.0", bus + 8 + number),
                &port_at,
                NVME,
                "nvme",
            ));
        }
    }
    functions.push(root_port("00:07.0", ON));
    functions.push(card("10:00.0", "00:07.0", NIC, "mlx5_core"));
    for number in 1..8 {
        let mut function = card(&format!("10:00.{number}"), "00:07.0", NIC, "");
        function.sriov = vfioctl_core::pci::SriovRole::Virtual {
            physical: at("10:00.0"),
        };
        function.acs = Answer::Known(ON);
        functions.push(function);
    }
    let mut snapshot = booted(machine(functions));
    snapshot.host_uses.insert(
        at("08:00.0"),
        vec![HostUse::Disk {
            mount_point: "/".into(),
        }],
    );
    snapshot
}

/// The workstation with its IOMMU off.
pub(super) fn ungrouped() -> Snapshot {
    let mut snapshot = workstation();
    for function in snapshot.functions.values_mut() {
        function.iommu_group = None;
        if let Answer::Known(Some(acs)) = function.acs {
            function.acs = Answer::Known(Some(acs.with_control(0)));
        }
    }
    snapshot
}

/// The workstation, seen without privilege.
pub(super) fn unseen() -> Snapshot {
    let mut snapshot = workstation();
    for function in snapshot.functions.values_mut() {
        function.config_bytes_seen = 64;
        function.acs = Answer::CannotSee;
        function.pcie_type = Answer::CannotSee;
    }
    snapshot
}

/// Every machine, with a name for a file.
pub(super) fn all() -> Vec<(&'static str, Snapshot)> {
    vec![
        ("lab", lab()),
        ("workstation", workstation()),
        ("eight", eight()),
        ("server", server()),
        ("ungrouped", ungrouped()),
        ("unseen", unseen()),
        ("empty", Snapshot::default()),
    ]
}
