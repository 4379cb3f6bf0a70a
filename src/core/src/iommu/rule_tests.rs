//! Rules of grouping that no machine at hand shows, each on a machine made for it.
//!
//! `scripts/ablation` takes every rule out in turn; these tests notice what the others do not.

use crate::acs::{Acs, AcsOverride, AcsParameters, Platform};
use crate::config::PcieType;
use crate::pci::{ClassCode, PciAddress, PciFunction, SriovRole};
use crate::{Answer, Snapshot};

use super::sample::{OFF, ON, at, booted, card, function, machine, port, two_and_two};
use super::{Simulation, Topology, predict_groups};

fn named(groups: &[Vec<PciAddress>]) -> Vec<Vec<String>> {
    let short = |address: &PciAddress| address.to_string().replace("0000:", "");
    groups
        .iter()
        .map(|group| group.iter().map(short).collect())
        .collect()
}

fn groups_on(snapshot: &Snapshot, platform: &Platform) -> Vec<Vec<String>> {
    named(&predict_groups(&Topology::of(snapshot), platform))
}

fn groups(snapshot: &Snapshot) -> Vec<Vec<String>> {
    groups_on(snapshot, &Platform::default())
}

fn with_id(mut function: PciFunction, vendor: u16, device: u16) -> PciFunction {
    (function.identity.vendor, function.identity.device) = (vendor, device);
    function
}

/// The bridge is vouched for by the quirk table, so only its aliasing joins what is below.
#[test]
fn what_sends_under_a_bridge_joins_it_even_where_the_bridge_isolates() {
    let kind = Some(PcieType::PcieToPciBridge);
    let bridge = function("01:00.0", Some("00:01.0"), kind, None, false);
    let snapshot = machine(vec![
        port("00:01.0", ON, false),
        with_id(bridge, 0x1def, 0xe005),
        function("02:01.0", Some("01:00.0"), None, None, false),
    ]);
    assert_eq!(
        groups(&snapshot),
        [vec!["00:01.0"], vec!["01:00.0", "02:01.0"]]
    );
}

#[test]
fn requests_do_not_climb_through_a_translation_root() {
    let kind = Some(PcieType::PciToPcieBridge);
    let platform = Platform {
        acs_override: AcsOverride::parse("id:14e4:9084"),
        ..Platform::default()
    };
    let below = |device| {
        let root = with_id(function("00:01.0", None, kind, None, false), 0x14e4, device);
        let mut root_port = port("01:00.0", ON, false);
        root_port.upstream = Some(at("00:01.0"));
        machine(vec![root, root_port, card("02:00.0", "01:00.0", false)])
    };
    assert_eq!(groups_on(&below(0x9084), &platform).len(), 3);
    assert_eq!(groups_on(&below(0x9085), &platform).len(), 1);
}

#[test]
fn a_function_that_isolates_is_alone_among_siblings_that_do_not() {
    let kind = Some(PcieType::Endpoint);
    let snapshot = machine(vec![
        port("00:01.0", ON, false),
        card("01:00.0", "00:01.0", true),
        function("01:00.1", Some("00:01.0"), kind, ON, true),
        card("01:00.2", "00:01.0", true),
    ]);
    assert_eq!(
        groups(&snapshot),
        [vec!["00:01.0"], vec!["01:00.0", "01:00.2"], vec!["01:00.1"]]
    );
}

/// 02.1 sends as 01.0, so its sibling 02.0, which is found before it, is in that group too.
#[test]
fn the_aliases_of_a_sibling_count() {
    let mut adaptec = with_id(card("01:02.1", "00:01.0", false), 0x9005, 0x0285);
    adaptec.identity.subsystem_vendor = 0x9005;
    adaptec.identity.subsystem_device = 0x02bb;
    let snapshot = machine(vec![
        port("00:01.0", ON, false),
        card("01:01.0", "00:01.0", false),
        card("01:02.0", "00:01.0", true),
        adaptec,
    ]);
    assert_eq!(
        groups(&snapshot),
        [vec!["00:01.0"], vec!["01:01.0", "01:02.0", "01:02.1"]]
    );
}

/// 01.2 sends as 01.1, which isolates; 01.1 is found first and joins the sibling of 01.2.
#[test]
fn the_siblings_of_an_alias_count() {
    let kind = Some(PcieType::Endpoint);
    let snapshot = machine(vec![
        port("00:01.0", ON, false),
        card("01:01.0", "00:01.0", true),
        function("01:01.1", Some("00:01.0"), kind, ON, true),
        with_id(card("01:01.2", "00:01.0", true), 0x1b4b, 0x9230),
    ]);
    assert_eq!(
        groups(&snapshot),
        [vec!["00:01.0"], vec!["01:01.0", "01:01.1", "01:01.2"]]
    );
}

#[test]
fn an_iommu_that_is_a_function_is_in_no_group() {
    let mut iommu = function("00:00.2", None, None, None, false);
    iommu.class = ClassCode::new(0x08_0600).unwrap();
    let snapshot = machine(vec![iommu, port("00:01.0", ON, false)]);
    assert_eq!(groups(&snapshot), [vec!["00:01.0"]]);
}

/// A machine with a switch below 00:01.0 and a card below it, and one card below 00:02.0.
fn switch() -> Snapshot {
    let upstream = Some(PcieType::UpstreamPort);
    let downstream = Some(PcieType::DownstreamPort);
    booted(machine(vec![
        port("00:01.0", ON, false),
        function("01:00.0", Some("00:01.0"), upstream, None, false),
        function("02:00.0", Some("01:00.0"), downstream, ON, false),
        card("03:00.0", "02:00.0", false),
        port("00:02.0", ON, false),
        card("04:00.0", "00:02.0", false),
    ]))
}

#[test]
fn what_is_below_goes_with_a_bridge_and_is_found_only_below_one_that_is_there() {
    let snapshot = switch();
    let topology = Topology::of(&snapshot);
    let platform = Platform::default();
    let mut machine = Simulation::of_kernel(&topology, &platform);
    machine.remove(at("01:00.0"));
    machine.remove(at("04:00.0"));
    assert_eq!(named(&machine.groups()), [["00:01.0"], ["00:02.0"]]);
    // Nothing is on the bus below a bridge that is gone.
    machine.rescan(Some(at("02:00.0")));
    assert_eq!(named(&machine.groups()), [["00:01.0"], ["00:02.0"]]);
    // Only what is below the bridge that is named.
    machine.rescan(Some(at("00:02.0")));
    assert_eq!(
        named(&machine.groups()),
        [["00:01.0"], ["00:02.0"], ["04:00.0"]]
    );
    machine.rescan(None);
    assert_eq!(machine.groups().len(), 6);
}

#[test]
fn a_scan_below_a_bridge_that_is_gone_finds_nothing() {
    let snapshot = switch();
    let topology = Topology::of(&snapshot);
    let platform = Platform::default();
    let mut machine = Simulation::of_kernel(&topology, &platform);
    machine.remove(at("00:01.0"));
    machine.rescan(Some(at("01:00.0")));
    assert_eq!(named(&machine.groups()), [["00:02.0"], ["04:00.0"]]);
}

#[test]
fn virtual_functions_go_with_the_physical_one_and_come_back_only_by_number() {
    let mut snapshot = machine(vec![
        port("00:01.0", ON, false),
        card("01:00.0", "00:01.0", false),
        card("01:00.1", "00:01.0", false),
        card("01:00.2", "00:01.0", false),
    ]);
    let physical = at("01:00.0");
    for address in ["01:00.1", "01:00.2"] {
        let function = snapshot.functions.get_mut(&at(address)).unwrap();
        function.sriov = SriovRole::Virtual { physical };
    }
    let snapshot = booted(snapshot);
    let topology = Topology::of(&snapshot);
    let platform = Platform::default();
    let mut machine = Simulation::of_kernel(&topology, &platform);
    machine.remove(physical);
    assert_eq!(named(&machine.groups()), [["00:01.0"]]);
    machine.set_virtual_functions(physical, 2);
    assert_eq!(named(&machine.groups()), [["00:01.0"]]);
    machine.rescan(None);
    assert_eq!(named(&machine.groups()), [["00:01.0"], ["01:00.0"]]);
    machine.set_virtual_functions(physical, 1);
    assert_eq!(
        named(&machine.groups()),
        [["00:01.0"], ["01:00.0"], ["01:00.1"]]
    );
    machine.set_virtual_functions(physical, 0);
    assert_eq!(machine.groups().len(), 2);
}

/// Linux 6.1 with `pci=disable_acs_redir=`: the port gets source validation and upstream forwarding
/// alone, so the card joins it, at boot and when both are found again.
#[test]
fn boot_parameters_decide_what_is_written_at_boot_and_later() {
    let platform = Platform {
        acs_parameters: AcsParameters::parse(["disable_acs_redir=00:04.0"], "6.1.0"),
        ..Platform::default()
    };
    let snapshot = two_and_two();
    let topology = Topology::of(&snapshot).at_boot(&platform.acs_parameters);
    let joined = ["00:04.0", "01:00.0", "01:00.1"]
        .map(str::to_owned)
        .to_vec();
    assert!(named(&predict_groups(&topology, &platform)).contains(&joined));
    let booted = booted(snapshot);
    let topology = Topology::of(&booted);
    let mut machine = Simulation::of_kernel(&topology, &platform);
    machine.remove(at("00:04.0"));
    machine.rescan(None);
    assert_eq!(machine.acs(at("00:04.0")), Some(Acs::new(0x5f, 0x11)));
    assert!(named(&machine.groups()).contains(&joined));
}

#[test]
fn acs_is_written_when_a_port_is_found_and_not_before() {
    let snapshot = two_and_two();
    let topology = Topology::of(&snapshot);
    let platform = Platform::default();
    let mut machine = Simulation::of_kernel(&topology, &platform);
    let port = at("00:04.0");
    machine.set_acs(port, 0x40);
    machine.remove(port);
    assert_eq!(machine.acs(port), Some(Acs::new(0x5f, 0x40)));
    machine.rescan(None);
    assert_eq!(machine.acs(port), Some(Acs::new(0x5f, 0x5d)));
}

#[test]
fn registers_that_are_off_are_on_after_a_boot() {
    let mut snapshot = two_and_two();
    let port = snapshot.functions.get_mut(&at("00:04.0")).unwrap();
    port.acs = Answer::Known(OFF);
    let at_boot = Topology::of(&snapshot).at_boot(&AcsParameters::default());
    let platform = Platform::default();
    assert_eq!(
        predict_groups(&at_boot, &platform),
        predict_groups(&Topology::of(&two_and_two()), &platform)
    );
}
