//! The lab's machine (`tests/lab/machine.args`), function for function, so that a case can be
//! run on both.

use std::path::Path;

use super::{Function, Machine, Port};

const INTEL: u16 = 0x8086;
const BOCHS: (u16, u16) = (0x1234, 0x1111);
const HDA: (u16, u16) = (INTEL, 0x293e);
const EDU: (u16, u16) = (0x1234, 0x11e8);
const E1000E: (u16, u16) = (INTEL, 0x10d3);
const VIRTIO_BLK: (u16, u16) = (0x1af4, 0x1042);
const VIRTIO_NET: (u16, u16) = (0x1af4, 0x1041);

/// Makes a machine like the lab's in a folder.
pub fn lab_like(folder: &Path) -> Machine {
    let machine = Machine::make(folder);
    machine.load_driver("bochs-drm", &[BOCHS], false);
    machine.load_driver("snd_hda_intel", &[HDA], false);
    machine.load_driver("e1000e", &[E1000E], false);
    machine.load_driver("virtio-pci", &[VIRTIO_BLK, VIRTIO_NET], false);
    machine.load_driver(
        "pcieport",
        &[(0x1b36, 0x000c), (0x104c, 0x8232), (0x104c, 0x8233)],
        true,
    );
    machine.load_driver("vfio-pci", &[], true);
    machine.load_driver("pci-stub", &[], true);
    for function in functions() {
        machine.add(&function);
    }
    machine.mount("0000:0c:00.0", "vdb", "254:16", "/srv");
    machine.route("0000:0d:00.0", "enp13s0");
    machine.open_to_all();
    machine
}

fn functions() -> Vec<Function> {
    let root_port = |address: &str, acs| {
        Function::bridge(address, 0x1b36, 0x000c, Port::RootPort { acs }).multifunction()
    };
    let display = |address: &str, upstream: &str, card| {
        Function::new(address, BOCHS.0, BOCHS.1, 0x03_8000)
            .below(upstream)
            .driver("bochs-drm")
            .card(card)
    };
    let audio = |address: &str, upstream: &str| {
        Function::new(address, HDA.0, HDA.1, 0x04_0300)
            .below(upstream)
            .driver("snd_hda_intel")
    };
    let other = |address: &str, upstream: &str, ids: (u16, u16), class| {
        Function::new(address, ids.0, ids.1, class).below(upstream)
    };
    let downstream = |address: &str| {
        Function::bridge(address, 0x104c, 0x8233, Port::Downstream).below("0000:05:00.0")
    };
    vec![
        Function::new("0000:00:00.0", INTEL, 0x29c0, 0x06_0000).group(0),
        root_port("0000:00:04.0", true).group(1),
        root_port("0000:00:04.1", true).group(2),
        root_port("0000:00:05.0", false).group(3),
        root_port("0000:00:05.1", false).group(3),
        root_port("0000:00:06.0", true).group(4),
        root_port("0000:00:07.0", true).group(5),
        root_port("0000:00:07.2", true).group(6),
        root_port("0000:00:08.0", true).group(7),
        root_port("0000:00:08.1", true).group(8),
        // Two equal graphics cards with their audio functions.
        display("0000:01:00.0", "0000:00:04.0", 0)
            .multifunction()
            .group(9),
        audio("0000:01:00.1", "0000:00:04.0").group(9),
        display("0000:02:00.0", "0000:00:04.1", 1)
            .multifunction()
            .group(10),
        audio("0000:02:00.1", "0000:00:04.1").group(10),
        // Cards behind the ports without ACS.
        display("0000:03:00.0", "0000:00:05.0", 2).group(3),
        display("0000:04:00.0", "0000:00:05.1", 3).group(3),
        // A switch with a card behind each of its ports.
        Function::bridge("0000:05:00.0", 0x104c, 0x8232, Port::Upstream)
            .below("0000:00:06.0")
            .group(11),
        downstream("0000:06:00.0").group(12),
        downstream("0000:06:01.0").group(13),
        display("0000:07:00.0", "0000:06:00.0", 4).group(12),
        display("0000:08:00.0", "0000:06:01.0", 5).group(13),
        other("0000:09:00.0", "0000:00:07.0", EDU, 0x00_ff00).group(14),
        other("0000:0b:00.0", "0000:00:07.2", E1000E, 0x02_0000)
            .group(15)
            .driver("e1000e"),
        other("0000:0c:00.0", "0000:00:08.0", VIRTIO_BLK, 0x01_0000)
            .group(16)
            .driver("virtio-pci"),
        other("0000:0d:00.0", "0000:00:08.1", VIRTIO_NET, 0x02_0000)
            .group(17)
            .driver("virtio-pci"),
        // A card on a second host bridge that bypasses the IOMMU.
        Function::bridge("0000:80:00.0", INTEL, 0x244e, Port::Conventional),
        display("0000:81:00.0", "0000:80:00.0", 6),
    ]
}
