//! Machines of which it is known what Linux makes of them.

use crate::acs::{AcsOverride, Platform};
use crate::config::PcieType;
use crate::pci::{PciAddress, SriovRole};
use crate::{Answer, Snapshot};

use super::sample::{OFF, ON, at, booted, card, function, machine, port, switch, two_and_two};
use super::{Decision, Explanation, Prediction, Remedy, Simulation, Topology, predict};

fn groups(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let topology = Topology::of(snapshot);
    named(&predict(&topology, &Platform::default()).groups)
}

fn named(groups: &[Vec<PciAddress>]) -> Vec<Vec<String>> {
    let short = |address: &PciAddress| address.to_string().replace("0000:", "");
    groups
        .iter()
        .map(|group| group.iter().map(short).collect())
        .collect()
}

fn why<'a>(prediction: &'a Prediction, address: &str) -> &'a Explanation {
    let mut all = prediction.explanations.iter();
    all.find(|why| why.address == at(address)).unwrap()
}

#[test]
fn ports_with_acs_separate_and_a_slot_without_is_one_group() {
    assert_eq!(
        groups(&two_and_two()),
        [
            vec!["00:04.0"],
            vec!["00:04.1"],
            vec!["00:05.0", "00:05.1", "03:00.0", "04:00.0"],
            vec!["00:06.0"],
            vec!["01:00.0", "01:00.1"],
            vec!["02:00.0", "02:00.1"],
        ]
    );
}

#[test]
fn every_bridge_on_the_way_counts_not_only_the_nearest() {
    assert_eq!(groups(&switch(ON, ON, ON)).len(), 6);
    assert_eq!(groups(&switch(OFF, ON, ON)).len(), 1);
    assert_eq!(
        groups(&switch(ON, None, None)),
        [
            vec!["00:06.0"],
            vec!["05:00.0"],
            vec!["06:00.0", "07:00.0"],
            vec!["06:01.0", "08:00.0"],
        ]
    );
}

#[test]
fn an_upstream_port_that_is_one_of_several_functions_joins_the_switch() {
    let upstream = |multifunction| {
        machine(vec![
            port("00:01.0", ON, false),
            function(
                "01:00.0",
                Some("00:01.0"),
                Some(PcieType::UpstreamPort),
                None,
                multifunction,
            ),
            card("01:00.1", "00:01.0", false),
            function(
                "02:00.0",
                Some("01:00.0"),
                Some(PcieType::DownstreamPort),
                ON,
                false,
            ),
            card("03:00.0", "02:00.0", false),
        ])
    };
    assert_eq!(
        groups(&upstream(true)),
        [
            vec!["00:01.0"],
            vec!["01:00.0", "01:00.1", "02:00.0", "03:00.0"]
        ]
    );
    assert_eq!(groups(&upstream(false)).len(), 5);
}

#[test]
fn what_is_behind_a_bridge_to_conventional_pci_is_one_group_with_it() {
    let snapshot = machine(vec![
        port("00:01.0", ON, false),
        function(
            "01:00.0",
            Some("00:01.0"),
            Some(PcieType::PcieToPciBridge),
            ON,
            false,
        ),
        function("02:01.0", Some("01:00.0"), None, None, false),
        function("02:02.0", Some("01:00.0"), None, None, false),
    ]);
    assert_eq!(
        groups(&snapshot),
        [vec!["00:01.0"], vec!["01:00.0", "02:01.0", "02:02.0"]]
    );
    let prediction = predict(&Topology::of(&snapshot), &Platform::default());
    let why = &prediction.explanations[2];
    assert!(
        why.remedies.contains(&Remedy::Nothing(at("01:00.0"))),
        "{why:?}"
    );
}

#[test]
fn functions_above_0_are_several_whatever_their_own_header_says() {
    // Found at boot; only the bit of function 0 counts for function 0.
    let slot = |first| {
        machine(vec![
            port("00:01.0", ON, false),
            card("01:00.0", "00:01.0", first),
            card("01:00.1", "00:01.0", false),
        ])
    };
    assert_eq!(groups(&slot(true)).len(), 2);
    assert_eq!(groups(&slot(false)).len(), 3);
}

#[test]
fn virtual_functions_are_one_of_several_never() {
    let mut snapshot = machine(vec![
        port("00:01.0", ON, false),
        card("01:00.0", "00:01.0", false),
        card("01:00.1", "00:01.0", true),
        card("01:00.2", "00:01.0", true),
    ]);
    for address in ["01:00.1", "01:00.2"] {
        snapshot.functions.get_mut(&at(address)).unwrap().sriov = SriovRole::Virtual {
            physical: at("01:00.0"),
        };
    }
    assert_eq!(groups(&snapshot).len(), 4);
}

#[test]
fn an_alias_partner_on_the_bus_shares_the_group() {
    let mut snapshot = machine(vec![
        port("00:01.0", ON, false),
        card("01:00.0", "00:01.0", false),
        card("01:00.1", "00:01.0", false),
        card("01:01.0", "00:01.0", false),
    ]);
    let first = snapshot.functions.get_mut(&at("01:00.0")).unwrap();
    (first.identity.vendor, first.identity.device) = (0x1b4b, 0x9230);
    assert_eq!(
        groups(&snapshot),
        [vec!["00:01.0"], vec!["01:00.0", "01:00.1"], vec!["01:01.0"]]
    );
    let prediction = predict(&Topology::of(&snapshot), &Platform::default());
    assert_eq!(
        prediction.explanations[2].decision,
        Decision::Sibling(at("01:00.0"), crate::acs::Reason::NoCapability)
    );
}

#[test]
fn devices_behind_vmd_share_its_group() {
    let mut snapshot = machine(vec![
        function(
            "00:0e.0",
            None,
            Some(PcieType::RootComplexEndpoint),
            None,
            false,
        ),
        function("10000:e0:1d.0", None, Some(PcieType::RootPort), ON, false),
        card("10000:e1:00.0", "10000:e0:1d.0", false),
    ]);
    let vmd = snapshot.functions.get_mut(&at("00:0e.0")).unwrap();
    (vmd.identity.vendor, vmd.identity.device) = (0x8086, 0x467f);
    assert_eq!(groups(&snapshot), [vec!["00:0e.0", "1e0:1d.0", "1e1:00.0"]]);
}

#[test]
fn what_no_iommu_covers_is_in_no_group() {
    let mut snapshot = booted(two_and_two());
    let bypassed = snapshot.functions.get_mut(&at("01:00.1")).unwrap();
    bypassed.iommu_group = None;
    let prediction = predict(&Topology::of(&snapshot), &Platform::default());
    assert!(
        !prediction
            .groups
            .iter()
            .flatten()
            .any(|member| *member == at("01:00.1"))
    );
    assert_eq!(why(&prediction, "01:00.1").decision, Decision::NotCovered);
}

#[test]
fn an_unprivileged_reader_is_told_what_is_uncertain() {
    let mut snapshot = two_and_two();
    for function in snapshot.functions.values_mut() {
        function.pcie_type = Answer::CannotSee;
        function.acs = Answer::CannotSee;
    }
    let prediction = predict(&Topology::of(&snapshot), &Platform::default());
    // A port alone in its slot, with nothing below: whatever its registers hold, it is alone.
    let mut uncertain = snapshot.functions;
    uncertain.remove(&at("00:06.0"));
    assert!(prediction.uncertain.iter().eq(uncertain.keys()));
    assert_eq!(why(&prediction, "01:00.0").decision, Decision::Hidden);
}

#[test]
fn the_decider_is_named_and_remedies_come_in_order() {
    let prediction = predict(&Topology::of(&two_and_two()), &Platform::default());
    let shared = why(&prediction, "03:00.0");
    let reason = crate::acs::Reason::NoCapability;
    assert_eq!(shared.decision, Decision::Bridge(at("00:05.0"), reason));
    assert_eq!(
        shared.remedies,
        [
            Remedy::OtherSlot(vec![at("00:06.0")]),
            Remedy::WholeGroup(2),
            Remedy::KernelParameter("downstream"),
        ]
    );
    // A card with its audio is what people pass: there is nothing to remedy.
    assert!(why(&prediction, "01:00.0").remedies.is_empty());
    assert_eq!(
        why(&prediction, "00:05.1").decision,
        Decision::Sibling(at("00:05.0"), reason)
    );
}

#[test]
fn bits_that_are_off_are_a_remedy_where_all_blockers_have_them() {
    let mut snapshot = two_and_two();
    for address in ["00:05.0", "00:05.1"] {
        snapshot.functions.get_mut(&at(address)).unwrap().acs = Answer::Known(OFF);
    }
    let prediction = predict(&Topology::of(&snapshot), &Platform::default());
    let why = why(&prediction, "03:00.0");
    assert!(
        why.remedies
            .contains(&Remedy::SetBits(vec![(at("00:05.0"), 0x1d)])),
        "{why:?}"
    );
}

#[test]
fn an_assertion_splits_what_has_no_capability() {
    let platform = Platform {
        acs_override: AcsOverride::parse("downstream"),
        ..Platform::default()
    };
    let prediction = predict(&Topology::of(&two_and_two()), &platform);
    assert_eq!(named(&prediction.groups).len(), 9);
}

/// What was seen of Linux 6.1, step by step.
#[test]
fn the_transcript_of_linux_6_1_is_repeated_step_by_step() {
    let snapshot = booted(two_and_two());
    let topology = Topology::of(&snapshot);
    let platform = Platform::default();
    let mut machine = Simulation::of_kernel(&topology, &platform);
    let group_of = |machine: &Simulation<'_>, address: &str| {
        let groups = machine.groups();
        named(&groups)
            .into_iter()
            .find(|group| group.contains(&address.to_owned()))
            .unwrap()
    };
    let cycle = |machine: &mut Simulation<'_>, addresses: &[&str], bridge: &str| {
        for address in addresses {
            machine.remove(at(address));
        }
        machine.rescan(Some(at(bridge)));
    };
    // C1: function 1 comes back without bit 7 of its own, and is grouped before it is marked.
    cycle(&mut machine, &["01:00.0", "01:00.1"], "00:04.0");
    assert_eq!(group_of(&machine, "01:00.0"), ["01:00.0"]);
    assert_eq!(group_of(&machine, "01:00.1"), ["01:00.1"]);
    // C2: clearing changes nothing. C3, C4: each function joins the port when it is cycled.
    machine.set_acs(at("00:04.0"), 0);
    assert_eq!(group_of(&machine, "01:00.0"), ["01:00.0"]);
    cycle(&mut machine, &["01:00.0"], "00:04.0");
    assert_eq!(group_of(&machine, "01:00.0"), ["00:04.0", "01:00.0"]);
    assert_eq!(group_of(&machine, "01:00.1"), ["01:00.1"]);
    cycle(&mut machine, &["01:00.1"], "00:04.0");
    assert_eq!(
        group_of(&machine, "01:00.1"),
        ["00:04.0", "01:00.0", "01:00.1"]
    );
    // C6: set, and one function cycled: it rejoins its sibling in the port's group.
    machine.set_acs(at("00:04.0"), 0x1d);
    cycle(&mut machine, &["01:00.0"], "00:04.0");
    assert_eq!(
        group_of(&machine, "01:00.0"),
        ["00:04.0", "01:00.0", "01:00.1"]
    );
    // C7: both cycled.
    cycle(&mut machine, &["01:00.0", "01:00.1"], "00:04.0");
    assert_eq!(group_of(&machine, "00:04.0"), ["00:04.0"]);
    assert_eq!(group_of(&machine, "01:00.1"), ["01:00.1"]);
    // C8: a slot with bit 7 on both.
    machine.set_acs(at("00:04.1"), 0);
    cycle(&mut machine, &["02:00.0"], "00:04.1");
    assert_eq!(group_of(&machine, "02:00.0"), ["00:04.1", "02:00.0"]);
    assert_eq!(group_of(&machine, "02:00.1"), ["02:00.1"]);
    // C11: set, both cycled.
    machine.set_acs(at("00:04.1"), 0x1d);
    cycle(&mut machine, &["02:00.0", "02:00.1"], "00:04.1");
    assert_eq!(group_of(&machine, "02:00.1"), ["02:00.0", "02:00.1"]);
    // C12: a port that is cycled gets its bits back.
    machine.set_acs(at("00:04.1"), 0);
    machine.remove(at("00:04.1"));
    machine.rescan(None);
    assert_eq!(group_of(&machine, "02:00.1"), ["02:00.0", "02:00.1"]);
    // C13: one missing bit is enough.
    machine.set_acs(at("00:04.1"), 0x1c);
    cycle(&mut machine, &["02:00.0", "02:00.1"], "00:04.1");
    assert_eq!(
        group_of(&machine, "02:00.0"),
        ["00:04.1", "02:00.0", "02:00.1"]
    );
}

#[test]
fn bridges_in_a_ring_are_taken_apart() {
    let mut snapshot = machine(vec![
        port("00:01.0", ON, false),
        port("01:00.0", ON, false),
        card("02:00.0", "01:00.0", false),
    ]);
    let ring = [("00:01.0", "01:00.0"), ("01:00.0", "00:01.0")];
    for (bridge, above) in ring {
        snapshot.functions.get_mut(&at(bridge)).unwrap().upstream = Some(at(above));
    }
    assert_eq!(groups(&snapshot).iter().flatten().count(), 3);
}
