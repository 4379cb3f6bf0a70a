//! Plans that change ACS and group anew, on machines that do not exist.

use std::collections::BTreeMap;

use crate::acs::{AcsChange, Platform, Reason};
use crate::claim::{Claim, Container, Original, Owner, Purpose};
use crate::iommu::sample::{OFF, ON, at, booted, switch, two_and_two};
use crate::iommu::{Separation, Verdict};
use crate::pci::PciAddress;
use crate::{Answer, HostUse, Snapshot};

use super::{Cycle, OverridePlan, PowerControl, Refusal, RegroupPlan, Regrouping};

/// The two cards below ports with ACS, grouped while the bits of both ports were off.
fn cleared_at_boot() -> Snapshot {
    let mut snapshot = two_and_two();
    for address in ["00:04.0", "00:04.1"] {
        snapshot.functions.get_mut(&at(address)).unwrap().acs = Answer::Known(OFF);
    }
    let gpu = snapshot.functions.get_mut(&at("01:00.0")).unwrap();
    gpu.driver = "nvidia".parse().ok();
    booted(snapshot)
}

/// A switch whose root port was cleared before the kernel found it; its own ports lack ACS.
fn cleared_switch() -> Snapshot {
    booted(switch(OFF, None, None))
}

fn plan_with(
    snapshot: &Snapshot,
    claims: &[Claim],
    targets: &[&str],
) -> Result<OverridePlan, Refusal> {
    let separation = Separation::of(snapshot, &Platform::default());
    let power = BTreeMap::from([(at("00:04.0"), PowerControl::Auto)]);
    let targets: Vec<PciAddress> = targets.iter().map(|target| at(target)).collect();
    Regrouping {
        snapshot,
        separation: &separation,
        claims,
        power: &power,
    }
    .plan_override(&targets)
}

fn set(
    snapshot: &Snapshot,
    claims: &[Claim],
    change: &str,
    regroup: bool,
) -> Result<RegroupPlan, Refusal> {
    let separation = Separation::of(snapshot, &Platform::default());
    let change: AcsChange = change.parse().unwrap();
    Regrouping {
        snapshot,
        separation: &separation,
        claims,
        power: &BTreeMap::new(),
    }
    .plan_set(at("00:04.0"), change, regroup, &Owner::person(1001))
}

fn claim(address: &str, uid: u32) -> Claim {
    let snapshot = two_and_two();
    Claim {
        owner: Owner::person(uid),
        originals: vec![Original::of(snapshot.function(at(address)).unwrap())],
        since: 0,
    }
}

fn in_container(claim: Claim, name: &str) -> Claim {
    let purpose = Purpose::Container(Container {
        name: name.parse().unwrap(),
        exclusive: false,
        user: None,
    });
    let uid = claim.owner.uid;
    let owner = Owner { uid, purpose };
    Claim { owner, ..claim }
}

fn texts(plan: &RegroupPlan) -> Vec<String> {
    let short = |text: String| text.replace("0000:", "");
    plan.steps
        .iter()
        .map(|step| short(step.to_string()))
        .collect()
}

#[test]
fn a_card_is_split_off_by_its_own_slot_and_the_port_is_left_alone() {
    let plan = plan_with(&cleared_at_boot(), &[], &["01:00.0"]).unwrap();
    assert_eq!(
        texts(&plan.regroup),
        [
            "unbind 01:00.0 from nvidia",
            "keep 00:04.0 awake",
            "set the ACS bits sv,rr,cr,uf of 00:04.0",
            "remove 01:00.1",
            "remove 01:00.0",
            "look for devices below 00:04.0",
            "bind 01:00.0 to nvidia",
        ]
    );
    assert_eq!(plan.regroup.before.groups().len(), 1);
    // Function 1 has no bit 7 of its own, so after a rescan it stands alone.
    assert_eq!(plan.regroup.after.groups().len(), 3);
    assert!(!plan.regroup.after.joins(at("01:00.0"), at("02:00.0")));
}

#[test]
fn all_gpus_are_split_and_the_impossible_ones_are_told() {
    let plan = plan_with(&cleared_at_boot(), &[], &[]).unwrap();
    assert_eq!(plan.regroup.cycles.len(), 2);
    let impossible: Vec<_> = plan
        .impossible
        .iter()
        .map(|(at, _)| at.to_string())
        .collect();
    assert_eq!(impossible, ["0000:03:00.0", "0000:04:00.0"]);
    assert!(!plan.regroup.after.joins(at("01:00.0"), at("02:00.0")));
}

#[test]
fn below_a_switch_the_whole_of_it_is_found_again_its_cards_first() {
    let plan = plan_with(&cleared_switch(), &[], &["07:00.0"]).unwrap();
    assert_eq!(
        texts(&plan.regroup),
        [
            "set the ACS bits sv,rr,cr,uf of 00:06.0",
            "remove 08:00.0",
            "remove 07:00.0",
            "remove 06:01.0",
            "remove 06:00.0",
            "remove 05:00.0",
            "look for devices below 00:06.0",
        ]
    );
    assert_eq!(plan.regroup.originals.len(), 5);
    assert!(!plan.regroup.after.joins(at("07:00.0"), at("08:00.0")));
}

#[test]
fn what_goes_with_a_subtree_is_not_found_again_twice() {
    let snapshot = cleared_switch();
    let separation = Separation::of(&snapshot, &Platform::default());
    let regrouping = Regrouping {
        snapshot: &snapshot,
        separation: &separation,
        claims: &[],
        power: &BTreeMap::new(),
    };
    let cycle = |bridge: &str, function: &str| Cycle {
        bridge: at(bridge),
        functions: vec![at(function)],
    };
    let (outer, inner) = (cycle("00:06.0", "05:00.0"), cycle("06:00.0", "07:00.0"));
    let cycles = [outer.clone(), inner].into();
    assert_eq!(regrouping.without_nested(cycles), [outer]);
}

#[test]
fn what_is_isolated_needs_nothing() {
    let plan = plan_with(&booted(two_and_two()), &[], &["01:00.0"]).unwrap();
    assert_eq!(plan.already, [(at("01:00.0"), Verdict::Isolated)]);
    assert!(plan.regroup.steps.is_empty());
}

#[test]
fn bits_that_were_cleared_after_grouping_are_set_and_nothing_is_removed() {
    let mut snapshot = booted(two_and_two());
    snapshot.functions.get_mut(&at("00:04.1")).unwrap().acs = Answer::Known(OFF);
    let plan = plan_with(&snapshot, &[], &["02:00.0"]).unwrap();
    assert_eq!(
        texts(&plan.regroup),
        ["set the ACS bits sv,rr,cr,uf of 00:04.1"]
    );
}

#[test]
fn bits_that_were_set_after_grouping_need_only_a_search() {
    let mut snapshot = cleared_at_boot();
    for address in ["00:04.0", "00:04.1"] {
        snapshot.functions.get_mut(&at(address)).unwrap().acs = Answer::Known(ON);
    }
    let plan = plan_with(&snapshot, &[], &["02:00.0"]).unwrap();
    assert_eq!(
        texts(&plan.regroup),
        [
            "remove 02:00.1",
            "remove 02:00.0",
            "look for devices below 00:04.1",
        ]
    );
}

#[test]
fn a_port_without_acs_is_refused_with_the_truth() {
    let refusal = plan_with(&booted(two_and_two()), &[], &["03:00.0"]).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::NoAcs {
            asked: at("03:00.0"),
            bridge: at("00:05.0"),
            because: Reason::NoCapability,
            parameter: Some("pcie_acs_override=downstream,multifunction"),
        }
    );
}

#[test]
fn what_someone_has_or_the_machine_lives_on_is_not_removed() {
    let claims = [claim("01:00.1", 1002)];
    let refusal = plan_with(&cleared_at_boot(), &claims, &["01:00.0"]).unwrap_err();
    assert_eq!(refusal.name(), "Claimed");
    for host_use in [
        HostUse::Console,
        HostUse::Keyboard { name: "k".into() },
        HostUse::Swap { device: "s".into() },
    ] {
        let mut snapshot = cleared_at_boot();
        snapshot
            .host_uses
            .insert(at("01:00.0"), vec![host_use.clone()]);
        let refusal = plan_with(&snapshot, &[], &["01:00.0"]).unwrap_err();
        let (asked, member) = (at("01:00.0"), at("01:00.0"));
        assert_eq!(
            refusal,
            Refusal::NeededByHost {
                asked,
                member,
                host_use
            }
        );
    }
}

#[test]
fn bits_are_set_and_cleared_by_name_and_only_if_offered() {
    let snapshot = booted(two_and_two());
    let plan = set(&snapshot, &[], "-rr,-cr", false).unwrap();
    assert_eq!(texts(&plan), ["clear the ACS bits rr,cr of 00:04.0"]);
    assert_eq!(plan.before, plan.after);
    assert_eq!(
        set(&snapshot, &[], "+ec", false).unwrap_err().name(),
        "BitsNotOffered"
    );
    let plan = set(&snapshot, &[], "-rr", true).unwrap();
    assert_eq!(texts(&plan)[1..3], ["remove 01:00.1", "remove 01:00.0"]);
    assert!(plan.after.joins(at("00:04.0"), at("01:00.0")));
}

#[test]
fn clearing_never_joins_what_different_people_have() {
    let mut snapshot = booted(two_and_two());
    let second = snapshot.functions.get_mut(&at("00:04.1")).unwrap();
    second.acs = Answer::Known(OFF);
    let refused = |claims: &[Claim]| set(&snapshot, claims, "-rr", false).unwrap_err().name();
    assert_eq!(refused(&[claim("01:00.0", 1002)]), "WouldJoin");
    assert_eq!(
        refused(&[claim("01:00.0", 1001), claim("02:00.0", 1002)]),
        "WouldJoin"
    );
    let own = [claim("01:00.0", 1001), claim("02:00.0", 1001)];
    assert!(set(&snapshot, &own, "-rr", false).is_ok());
    // One that several containers share belongs to each of them.
    let shared = [
        claim("01:00.0", 1001),
        in_container(claim("02:00.0", 1001), "a"),
        in_container(claim("02:00.0", 1002), "a"),
    ];
    assert_eq!(refused(&shared), "WouldJoin");
    assert!(set(&snapshot, &shared[..2], "-rr", false).is_ok());
}

#[test]
fn what_a_container_uses_is_not_removed_not_even_for_its_owner() {
    let claims = [in_container(claim("01:00.1", 1001), "train")];
    let refusal = plan_with(&cleared_at_boot(), &claims, &["01:00.0"]).unwrap_err();
    let expected = Refusal::InContainer {
        asked: at("01:00.0"),
        member: at("01:00.1"),
        owner: claims[0].owner.clone(),
        others: 0,
    };
    assert_eq!(refusal, expected);
}
