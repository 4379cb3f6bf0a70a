//! Machines that do not exist, for the tests of grouping and of what is built on it.

use crate::acs::{Acs, Platform};
use crate::config::{HeaderType, PcieType};
use crate::pci::{ClassCode, GroupId, Identity, PciAddress, PciFunction, SriovRole};
use crate::{Answer, Snapshot};

use super::{Topology, predict};

pub(crate) const ON: Option<Acs> = Some(Acs::new(0x5f, 0x1d));
pub(crate) const OFF: Option<Acs> = Some(Acs::new(0x5f, 0));

pub(crate) fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

/// A function; `kind` is the device/port type, `None` for conventional PCI.
pub(crate) fn function(
    address: &str,
    upstream: Option<&str>,
    kind: Option<PcieType>,
    acs: Option<Acs>,
    multifunction_bit: bool,
) -> PciFunction {
    let is_bridge = matches!(
        kind,
        Some(
            PcieType::RootPort
                | PcieType::UpstreamPort
                | PcieType::DownstreamPort
                | PcieType::PcieToPciBridge
        )
    );
    let header_type = if is_bridge {
        HeaderType::Bridge
    } else {
        HeaderType::Normal
    };
    PciFunction {
        address: at(address),
        identity: Identity {
            vendor: 0x1234,
            device: 0x1111,
            subsystem_vendor: 0,
            subsystem_device: 0,
        },
        class: ClassCode::new(if is_bridge { 0x06_0400 } else { 0x03_0000 }).unwrap(),
        revision: 0,
        upstream: upstream.map(at),
        header_type: Answer::Known(header_type),
        multifunction_bit: Answer::Known(multifunction_bit),
        config_bytes_seen: 4096,
        pcie_type: Answer::Known(kind),
        acs: Answer::Known(acs),
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
    }
}

pub(crate) fn port(address: &str, acs: Option<Acs>, multifunction: bool) -> PciFunction {
    function(address, None, Some(PcieType::RootPort), acs, multifunction)
}

pub(crate) fn card(address: &str, upstream: &str, multifunction: bool) -> PciFunction {
    let kind = Some(PcieType::Endpoint);
    function(address, Some(upstream), kind, None, multifunction)
}

pub(crate) fn machine(functions: Vec<PciFunction>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for function in functions {
        snapshot.functions.insert(function.address, function);
    }
    snapshot
}

/// Puts functions into the groups that a boot makes, as the kernel would show them.
pub(crate) fn booted(mut snapshot: Snapshot) -> Snapshot {
    let topology = Topology::of(&snapshot);
    let prediction = predict(&topology, &Platform::default());
    for (number, group) in (1..).zip(&prediction.groups) {
        for address in group {
            let function = snapshot.functions.get_mut(address).unwrap();
            function.iommu_group = Some(GroupId(number));
        }
    }
    snapshot
}

/// Two cards with audio below ports with ACS; two cards below ports of one slot without.
pub(crate) fn two_and_two() -> Snapshot {
    machine(vec![
        port("00:04.0", ON, true),
        port("00:04.1", ON, false),
        card("01:00.0", "00:04.0", true),
        card("01:00.1", "00:04.0", false),
        card("02:00.0", "00:04.1", true),
        card("02:00.1", "00:04.1", true),
        port("00:05.0", None, true),
        port("00:05.1", None, false),
        card("03:00.0", "00:05.0", false),
        card("04:00.0", "00:05.1", false),
        port("00:06.0", ON, false),
    ])
}

/// Two cards behind a switch: its root port and each of its own ports with these registers.
pub(crate) fn switch(root: Option<Acs>, left: Option<Acs>, right: Option<Acs>) -> Snapshot {
    let bridge =
        |address, upstream, kind, acs| function(address, Some(upstream), Some(kind), acs, false);
    machine(vec![
        port("00:06.0", root, false),
        bridge("05:00.0", "00:06.0", PcieType::UpstreamPort, None),
        bridge("06:00.0", "05:00.0", PcieType::DownstreamPort, left),
        bridge("06:01.0", "05:00.0", PcieType::DownstreamPort, right),
        card("07:00.0", "06:00.0", false),
        card("08:00.0", "06:01.0", false),
    ])
}
