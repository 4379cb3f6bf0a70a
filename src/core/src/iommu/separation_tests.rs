//! What the kernel's groups are worth, on machines that do not exist.

use crate::acs::{Acs, AcsOverride, Platform};
use crate::pci::GroupId;
use crate::{Answer, Snapshot};

use super::sample::{ON, at, booted, switch, two_and_two};
use super::{DifferenceKind, OpenSwitch, Separation, Topology, Verdict, predict};

fn verdict(snapshot: &Snapshot, platform: &Platform, address: &str) -> Verdict {
    let separation = Separation::of(snapshot, platform);
    separation.audit(at(address)).unwrap().verdict
}

fn set_control(snapshot: &mut Snapshot, address: &str, control: u16) {
    let function = snapshot.functions.get_mut(&at(address)).unwrap();
    function.acs = Answer::Known(Some(Acs::new(0x5f, control)));
}

#[test]
fn a_card_below_isolating_ports_is_isolated_and_one_in_company_shared() {
    let snapshot = booted(two_and_two());
    let plain = Platform::default();
    assert_eq!(verdict(&snapshot, &plain, "01:00.0"), Verdict::Isolated);
    assert_eq!(verdict(&snapshot, &plain, "03:00.0"), Verdict::Shared);
    assert_eq!(Separation::of(&snapshot, &plain).differences(), []);
}

#[test]
fn bits_cleared_after_grouping_make_the_groups_stale() {
    let mut snapshot = booted(two_and_two());
    for port in ["00:04.0", "00:04.1"] {
        set_control(&mut snapshot, port, 0);
    }
    let separation = Separation::of(&snapshot, &Platform::default());
    let audit = separation.audit(at("01:00.0")).unwrap();
    assert_eq!(audit.verdict, Verdict::Stale);
    assert_eq!(audit.register_partners, [at("02:00.0"), at("02:00.1")]);
    assert_eq!(
        separation.reduced_partners(at("01:00.0")),
        audit.register_partners
    );
    assert_eq!(separation.reduced_partners(at("03:00.0")), []);
    let [difference] = &*separation.differences() else {
        panic!("one difference")
    };
    assert_eq!(difference.kind, DifferenceKind::Finer);
    assert_eq!(difference.bits_off, [at("00:04.0"), at("00:04.1")]);
    assert_eq!(difference.registers.len(), 1);
}

#[test]
fn bits_set_after_grouping_leave_the_groups_too_coarse() {
    let mut before = two_and_two();
    for port in ["00:04.0", "00:04.1"] {
        set_control(&mut before, port, 0);
    }
    let mut snapshot = booted(before);
    for port in ["00:04.0", "00:04.1"] {
        set_control(&mut snapshot, port, 0x1d);
    }
    let separation = Separation::of(&snapshot, &Platform::default());
    assert_eq!(
        separation.audit(at("01:00.0")).unwrap().verdict,
        Verdict::Shared
    );
    let [difference] = &*separation.differences() else {
        panic!("one difference")
    };
    assert_eq!(difference.kind, DifferenceKind::Coarser);
}

#[test]
fn an_asserted_separation_is_called_that() {
    let platform = Platform {
        acs_override: AcsOverride::everything(),
        ..Platform::default()
    };
    let mut snapshot = two_and_two();
    let groups = predict(&Topology::of(&snapshot), &platform).groups;
    for (number, group) in (1..).zip(&groups) {
        for address in group {
            snapshot.functions.get_mut(address).unwrap().iommu_group = Some(GroupId(number));
        }
    }
    assert_eq!(verdict(&snapshot, &platform, "03:00.0"), Verdict::Asserted);
    assert_eq!(
        verdict(&snapshot, &Platform::default(), "03:00.0"),
        Verdict::Unexplained
    );
    assert_eq!(verdict(&snapshot, &platform, "01:00.0"), Verdict::Isolated);
}

#[test]
fn a_switch_whose_ports_lack_acs_may_connect_what_the_kernel_separates() {
    let snapshot = booted(switch(ON, None, ON));
    let separation = Separation::of(&snapshot, &Platform::default());
    let audit = separation.audit(at("08:00.0")).unwrap();
    assert_eq!(audit.verdict, Verdict::OpenSwitch);
    assert_eq!(audit.switch_partners, [at("07:00.0")]);
    assert_eq!(
        separation.open_switches(),
        [OpenSwitch {
            upstream_port: at("05:00.0"),
            ports: vec![at("06:00.0")],
        }]
    );
}
