//! The plans, on machines that do not exist.

use crate::claim::{Claim, Container, Original, Owner, Purpose};
use crate::config::HeaderType;
use crate::pci::{ClassCode, DriverName, GroupId, Identity, PciAddress, PciFunction, SriovRole};
use crate::snapshot::HostUse;
use crate::{Answer, Snapshot};

use super::{Leftover, Refusal, Step, plan_bind, plan_restore};

pub(super) fn at(address: &str) -> PciAddress {
    address.parse().unwrap()
}

fn driver(name: &str) -> DriverName {
    name.parse().unwrap()
}

pub(super) fn function(address: &str, class: u32, group: u32, bound: Option<&str>) -> PciFunction {
    PciFunction {
        address: at(address),
        identity: Identity {
            vendor: 0x10de,
            device: 1,
            subsystem_vendor: 0,
            subsystem_device: 0,
        },
        class: ClassCode::new(class).unwrap(),
        revision: 0,
        upstream: None,
        header_type: Answer::Known(HeaderType::Normal),
        multifunction_bit: Answer::Known(false),
        config_bytes_seen: 4096,
        pcie_type: Answer::Known(None),
        acs: Answer::Known(None),
        driver: bound.map(driver),
        driver_override: Answer::Known(None),
        iommu_group: Some(GroupId(group)),
        numa_node: None,
        bars: Vec::new(),
        reset_methods: Vec::new(),
        power_state: None,
        boot_vga: None,
        sriov: SriovRole::None,
        problems: Vec::new(),
    }
}

pub(super) fn bridge(address: &str, group: u32) -> PciFunction {
    PciFunction {
        header_type: Answer::Known(HeaderType::Bridge),
        ..function(address, 0x06_0400, group, Some("pcieport"))
    }
}

pub(super) fn machine(functions: impl IntoIterator<Item = PciFunction>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for function in functions {
        snapshot.functions.insert(function.address, function);
    }
    snapshot
}

/// A card with its audio function in one group with its port, and a network card beside.
fn workstation() -> Snapshot {
    machine([
        bridge("00:01.0", 1),
        function("01:00.0", 0x03_0000, 1, Some("nvidia")),
        function("01:00.1", 0x04_0300, 1, Some("snd_hda_intel")),
        function("02:00.0", 0x02_0000, 2, Some("igb")),
        function("02:00.1", 0x02_0000, 3, Some("igb")),
    ])
}

const NO_CLAIMS: [Claim; 0] = [];

fn set(address: &str, from: Option<&str>, to: Option<&str>) -> Step {
    let (from, to) = (from.map(str::to_owned), to.map(str::to_owned));
    Step::SetOverride {
        address: at(address),
        from,
        to,
    }
}

fn unbind(address: &str, name: &str) -> Step {
    Step::Unbind {
        address: at(address),
        driver: driver(name),
    }
}

fn bind(address: &str, name: &str) -> Step {
    Step::Bind {
        address: at(address),
        driver: driver(name),
    }
}

#[test]
fn all_endpoints_of_the_group_are_taken_overrides_first_and_the_bridge_is_left_alone() {
    let plan = plan_bind(&workstation(), &NO_CLAIMS, at("01:00.1")).unwrap();
    assert_eq!(
        plan.steps,
        [
            set("01:00.0", None, Some("vfio-pci")),
            set("01:00.1", None, Some("vfio-pci")),
            unbind("01:00.0", "nvidia"),
            bind("01:00.0", "vfio-pci"),
            unbind("01:00.1", "snd_hda_intel"),
            bind("01:00.1", "vfio-pci"),
        ]
    );
    assert_eq!(plan.groups, [GroupId(1)]);
}

#[test]
fn a_gpu_goes_whole_although_acs_separates_its_functions() {
    let mut snapshot = workstation();
    snapshot
        .functions
        .get_mut(&at("01:00.1"))
        .unwrap()
        .iommu_group = Some(GroupId(9));
    let plan = plan_bind(&snapshot, &NO_CLAIMS, at("01:00.0")).unwrap();
    assert_eq!(plan.groups, [GroupId(1), GroupId(9)]);
    assert_eq!(plan.originals.len(), 2);
}

#[test]
fn functions_of_a_network_card_with_groups_of_their_own_go_one_by_one() {
    let plan = plan_bind(&workstation(), &NO_CLAIMS, at("02:00.1")).unwrap();
    assert_eq!(plan.steps.len(), 3);
    assert_eq!(plan.groups, [GroupId(3)]);
}

#[test]
fn a_function_without_a_driver_is_not_unbound_and_one_on_vfio_is_left_there() {
    let snapshot = machine([
        function("01:00.0", 0x03_0000, 1, None),
        function("01:00.1", 0x04_0300, 1, Some("vfio-pci")),
    ]);
    let plan = plan_bind(&snapshot, &NO_CLAIMS, at("01:00.0")).unwrap();
    assert_eq!(
        plan.steps,
        [
            set("01:00.0", None, Some("vfio-pci")),
            bind("01:00.0", "vfio-pci")
        ]
    );
    assert_eq!(plan.originals.len(), 2);
}

#[test]
fn what_stands_in_the_way_is_named() {
    let refusal = |snapshot: &Snapshot, address| plan_bind(snapshot, &NO_CLAIMS, at(address)).err();
    let good = workstation();
    assert_eq!(
        refusal(&good, "05:00.0"),
        Some(Refusal::UnknownAddress(at("05:00.0")))
    );
    assert_eq!(
        refusal(&good, "00:01.0"),
        Some(Refusal::Bridge(at("00:01.0")))
    );

    let mut snapshot = workstation();
    snapshot
        .functions
        .get_mut(&at("02:00.0"))
        .unwrap()
        .iommu_group = None;
    assert_eq!(
        refusal(&snapshot, "02:00.0"),
        Some(Refusal::NoGroup(at("02:00.0")))
    );

    let mut snapshot = workstation();
    snapshot
        .functions
        .get_mut(&at("01:00.1"))
        .unwrap()
        .header_type = Answer::CannotSee;
    assert_eq!(
        refusal(&snapshot, "01:00.0"),
        Some(Refusal::HeaderHidden(at("01:00.1")))
    );

    let mut snapshot = workstation();
    snapshot
        .functions
        .get_mut(&at("01:00.0"))
        .unwrap()
        .identity
        .vendor = 0xffff;
    assert_eq!(
        refusal(&snapshot, "01:00.0"),
        Some(Refusal::Gone(at("01:00.0")))
    );

    let mut snapshot = workstation();
    let virtual_functions = vec![at("02:10.0")];
    snapshot.functions.get_mut(&at("02:00.0")).unwrap().sriov = SriovRole::Physical {
        virtual_functions,
        total: 8,
    };
    let address = at("02:00.0");
    let expected = Refusal::HasVirtualFunctions { address, count: 1 };
    assert_eq!(refusal(&snapshot, "02:00.0"), Some(expected));
}

#[test]
fn what_the_machine_lives_on_is_refused_for_every_member_of_its_group() {
    let mut snapshot = workstation();
    let disk = function("03:00.0", 0x01_0802, 1, Some("nvme"));
    snapshot.functions.insert(disk.address, disk);
    let host_use = HostUse::Disk {
        mount_point: "/".into(),
    };
    snapshot
        .host_uses
        .insert(at("03:00.0"), vec![host_use.clone()]);
    let refusal = plan_bind(&snapshot, &NO_CLAIMS, at("01:00.0")).unwrap_err();
    let (asked, member) = (at("01:00.0"), at("03:00.0"));
    assert_eq!(
        refusal,
        Refusal::NeededByHost {
            asked,
            member,
            host_use
        }
    );
}

#[test]
fn what_could_not_be_found_out_makes_no_controller_of_that_kind_safe() {
    let mut snapshot = workstation();
    snapshot.hidden_network = Some("eth9".into());
    let member = at("02:00.0");
    let expected = Refusal::NetworkHidden {
        member,
        interface: "eth9".into(),
    };
    assert_eq!(plan_bind(&snapshot, &NO_CLAIMS, member), Err(expected));
    assert!(plan_bind(&snapshot, &NO_CLAIMS, at("01:00.0")).is_ok());
}

#[test]
fn a_claim_on_any_member_is_refused_with_its_owner() {
    let owner = Owner::person(1002);
    let originals = vec![Original::of(&function("01:00.1", 0, 1, None))];
    let claims = [Claim {
        owner: owner.clone(),
        originals,
        since: 0,
    }];
    let address = at("01:00.1");
    let refusal = plan_bind(&workstation(), &claims, at("01:00.0")).unwrap_err();
    assert_eq!(refusal, Refusal::Claimed { address, owner });
}

#[test]
fn a_group_mate_that_containers_use_is_refused_with_who_they_are() {
    let container = |name: &str| Owner {
        uid: 990,
        purpose: Purpose::Container(Container {
            name: name.parse().unwrap(),
            exclusive: false,
            user: "ann".parse().ok(),
        }),
    };
    let originals = vec![Original::of(&function("01:00.1", 0, 1, None))];
    let claims = ["a", "b", "c"].map(|name| Claim {
        owner: container(name),
        originals: originals.clone(),
        since: 0,
    });
    let (asked, member) = (at("01:00.0"), at("01:00.1"));
    let refusal = plan_bind(&workstation(), &claims, asked).unwrap_err();
    let expected = Refusal::InContainer {
        asked,
        member,
        owner: container("a"),
        others: 2,
    };
    assert_eq!(refusal, expected);
    assert_eq!(
        refusal.to_string(),
        "0000:01:00.0 cannot be taken alone: 0000:01:00.1 goes with it, and 0000:01:00.1 is used \
         by container 'a' of user 990 for 'ann' and 2 other containers"
    );
}

/// Does to a snapshot what the kernel would do; every step must fit what is.
fn perform(snapshot: &mut Snapshot, steps: &[Step]) {
    for step in steps {
        let function = snapshot.functions.get_mut(&step.address()).unwrap();
        match step {
            Step::SetOverride { from, to, .. } => {
                assert_eq!(
                    function.driver_override,
                    Answer::Known(from.clone()),
                    "{step}"
                );
                function.driver_override = Answer::Known(to.clone());
            }
            Step::Unbind { driver, .. } => {
                assert_eq!(function.driver.as_ref(), Some(driver), "{step}");
                function.driver = None;
            }
            Step::Bind { driver, .. } => {
                assert_eq!(function.driver, None, "{step}");
                // ENODEV where the override names another driver (drivers/pci/pci-driver.c,
                // pci_match_device).
                let allowed = function.driver_override.clone().known().flatten();
                assert!(allowed.is_none_or(|name| name == driver.as_str()), "{step}");
                function.driver = Some(driver.clone());
            }
            other => panic!("no step of a bind: {other}"),
        }
    }
}

#[test]
fn from_every_point_of_a_bind_the_way_back_leads_to_the_beginning() {
    for original_override in [None, Some("nvidia"), Some("none")] {
        let mut before = workstation();
        before
            .functions
            .get_mut(&at("01:00.0"))
            .unwrap()
            .driver_override = Answer::Known(original_override.map(str::to_owned));
        let plan = plan_bind(&before, &NO_CLAIMS, at("01:00.0")).unwrap();
        for done in 0..=plan.steps.len() {
            let mut snapshot = before.clone();
            perform(&mut snapshot, &plan.steps[..done]);
            let back = plan_restore(&snapshot, &plan.originals);
            assert_eq!(back.leftovers, []);
            perform(&mut snapshot, &back.steps);
            assert_eq!(
                snapshot, before,
                "after {done} steps, override {original_override:?}"
            );
            // And from every point of the way back, too.
            for undone in 0..=back.steps.len() {
                let mut snapshot = before.clone();
                perform(&mut snapshot, &plan.steps[..done]);
                perform(&mut snapshot, &back.steps[..undone]);
                let rest = plan_restore(&snapshot, &plan.originals);
                perform(&mut snapshot, &rest.steps);
                assert_eq!(snapshot, before, "after {done} steps and {undone} back");
            }
        }
    }
}

#[test]
fn another_device_at_the_address_is_not_touched() {
    let before = workstation();
    let originals = plan_bind(&before, &NO_CLAIMS, at("01:00.0"))
        .unwrap()
        .originals;
    let mut snapshot = before.clone();
    let expected = snapshot.functions[&at("01:00.1")].identity;
    let replaced = snapshot.functions.get_mut(&at("01:00.1")).unwrap();
    replaced.identity.device = 2;
    let found = replaced.identity;
    snapshot.functions.remove(&at("01:00.0"));
    let plan = plan_restore(&snapshot, &originals);
    assert_eq!(plan.steps, []);
    assert_eq!(
        plan.leftovers,
        [
            Leftover::Replaced {
                address: at("01:00.1"),
                expected,
                found
            },
            Leftover::Missing(at("01:00.0")),
        ]
    );
}

#[test]
fn a_device_that_someone_else_took_stays_there_without_our_override() {
    let before = workstation();
    let originals = plan_bind(&before, &NO_CLAIMS, at("02:00.0"))
        .unwrap()
        .originals;
    let mut snapshot = before.clone();
    let taken = snapshot.functions.get_mut(&at("02:00.0")).unwrap();
    taken.driver = Some(driver("uio_pci_generic"));
    taken.driver_override = Answer::Known(Some("vfio-pci".into()));
    let plan = plan_restore(&snapshot, &originals);
    assert_eq!(plan.steps, [set("02:00.0", Some("vfio-pci"), None)]);
    let taken = Leftover::Taken {
        address: at("02:00.0"),
        driver: driver("uio_pci_generic"),
    };
    assert_eq!(plan.leftovers, [taken]);
}

#[test]
fn plumbing_stays_with_the_host_and_must_not_stand_in_the_way() {
    let mut snapshot = workstation();
    snapshot
        .functions
        .insert(at("00:1f.0"), function("00:1f.0", 0x06_0100, 1, None));
    let plan = plan_bind(&snapshot, &NO_CLAIMS, at("01:00.0")).unwrap();
    assert_eq!(plan.originals.len(), 2);
    let refusal = plan_bind(&snapshot, &NO_CLAIMS, at("00:1f.0")).unwrap_err();
    assert_eq!(refusal, Refusal::Platform(at("00:1f.0")));

    snapshot.functions.get_mut(&at("00:01.0")).unwrap().driver = Some(driver("shpchp"));
    let (asked, member) = (at("01:00.0"), at("00:01.0"));
    let refusal = plan_bind(&snapshot, &NO_CLAIMS, asked).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Spoiled {
            asked,
            member,
            driver: driver("shpchp")
        }
    );
}
