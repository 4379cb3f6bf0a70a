//! Taking devices and giving them back.

use serde_json::json;

use super::{AUDIO, Case, GPU, both, fake_only};
use crate::world::{User, World, assert_same};

pub(super) const CASES: &[Case] = &[
    both(
        "bind_of_a_gpu_takes_both_functions_and_release_returns_them",
        gpu,
    ),
    both("override_that_was_set_before_is_restored", override_before),
    both(
        "group_with_two_cards_is_taken_whole_and_its_bridges_left_alone",
        two_cards,
    ),
    both("bind_of_what_one_has_changes_nothing", twice),
    both("plan_of_bind_and_release_changes_nothing", plan),
    both("device_without_driver_is_bound_and_returned", no_driver),
    both("root_may_release_what_others_have", root_releases),
    fake_only(
        "another_device_at_the_address_is_left_alone",
        "no card can be exchanged in the lab",
        replaced,
    ),
    fake_only(
        "device_in_use_is_refused_and_named",
        "no program of the lab uses its display",
        in_use,
    ),
];

fn gpu(world: &dyn World) {
    let before = world.picture();
    let bound = world.vfioctl(User::Alice, &["bind", GPU]).done();
    assert_eq!(bound["members"], json!([GPU, AUDIO]));
    for address in [GPU, AUDIO] {
        assert_eq!(world.driver(address).as_deref(), Some("vfio-pci"));
        assert_eq!(world.driver_override(address), "vfio-pci");
    }
    let node = world.node(&world.group(GPU));
    assert_eq!(node.as_deref(), Some("1001 600"));
    assert_eq!(world.state(), [format!("claims/{GPU}.json")]);
    let list = world.vfioctl(User::Bob, &["list"]).done();
    let claim = &list["claims"][0];
    assert_eq!(claim["addresses"], json!([GPU, AUDIO]), "{list:#}");
    assert_eq!(claim["owner"]["user"], "alice", "{list:#}");
    let released = world.vfioctl(User::Alice, &["release", AUDIO]).done();
    assert_eq!(released["members"], json!([GPU, AUDIO]));
    assert_eq!(released["leftovers"], json!([]));
    assert_eq!(world.driver(GPU).as_deref(), Some("bochs-drm"));
    assert_eq!(world.driver(AUDIO).as_deref(), Some("snd_hda_intel"));
    assert_same(&world.picture(), &before, "afterwards");
}

fn override_before(world: &dyn World) {
    for text in ["bochs-drm", "no-such-driver"] {
        world.set_override(GPU, text);
        let before = world.picture();
        world.vfioctl(User::Alice, &["bind", GPU]).done();
        assert_eq!(world.driver_override(GPU), "vfio-pci");
        world.vfioctl(User::Alice, &["release", GPU]).done();
        assert_eq!(world.driver_override(GPU), text);
        assert_same(&world.picture(), &before, text);
    }
}

fn two_cards(world: &dyn World) {
    let before = world.picture();
    let bound = world.vfioctl(User::Alice, &["bind", "03:00.0"]).done();
    assert_eq!(bound["members"], json!(["0000:03:00.0", "0000:04:00.0"]));
    for address in ["0000:03:00.0", "0000:04:00.0"] {
        assert_eq!(world.driver(address).as_deref(), Some("vfio-pci"));
    }
    for bridge in ["0000:00:05.0", "0000:00:05.1"] {
        assert_eq!(world.group(bridge), world.group("0000:03:00.0"));
        assert_eq!(world.driver(bridge).as_deref(), Some("pcieport"));
    }
    world.vfioctl(User::Alice, &["release", "04:00.0"]).done();
    assert_same(&world.picture(), &before, "afterwards");
}

fn twice(world: &dyn World) {
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    let bound = world.picture();
    let again = world.vfioctl(User::Alice, &["bind", AUDIO]).done();
    assert_eq!(again["already"], true);
    assert_same(&world.picture(), &bound, "afterwards");
}

fn plan(world: &dyn World) {
    let before = world.picture();
    let planned = world.vfioctl(User::Alice, &["bind", GPU, "--plan"]).done();
    assert_eq!(
        (&planned["planned"], &planned["claim"]),
        (&json!(true), &json!(null))
    );
    assert_same(&world.picture(), &before, "afterwards");
    let done = world.vfioctl(User::Alice, &["bind", GPU]).done();
    assert_eq!(done["steps"], planned["steps"]);
    let bound = world.picture();
    let planned = world
        .vfioctl(User::Alice, &["release", GPU, "--plan"])
        .done();
    assert_same(&world.picture(), &bound, "afterwards");
    let done = world.vfioctl(User::Alice, &["release", GPU]).done();
    assert_eq!(done["steps"], planned["steps"]);
    assert_same(&world.picture(), &before, "afterwards");
}

fn no_driver(world: &dyn World) {
    const EDU: &str = "0000:09:00.0";
    let before = world.picture();
    world.vfioctl(User::Bob, &["bind", EDU]).done();
    assert_eq!(world.node(&world.group(EDU)).as_deref(), Some("1002 600"));
    world.vfioctl(User::Bob, &["release", EDU]).done();
    assert_eq!(world.driver(EDU), None);
    assert_same(&world.picture(), &before, "afterwards");
}

fn root_releases(world: &dyn World) {
    let before = world.picture();
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    world.vfioctl(User::Root, &["release", GPU]).done();
    assert_same(&world.picture(), &before, "afterwards");
}

fn replaced(world: &dyn World) {
    let fake = world.fake().unwrap();
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    fake.machine().replace(GPU, 0x10de, 0x2684);
    fake.faults().tell(&[]);
    let answer = world.vfioctl(User::Alice, &["release", GPU]);
    assert_eq!(answer.status, 1, "{answer}");
    assert_eq!(answer.texts("/leftovers").len(), 1, "{answer}");
    let touched = fake.faults().asked();
    assert!(
        touched.iter().all(|step| !step.contains(GPU)),
        "{touched:?}"
    );
    assert_eq!(world.driver(GPU).as_deref(), Some("vfio-pci"));
    assert_eq!(world.driver(AUDIO).as_deref(), Some("snd_hda_intel"));
    assert!(world.state().is_empty());
}

fn in_use(world: &dyn World) {
    let fake = world.fake().unwrap();
    fake.machine().open_by(4711, "Xorg", "/dev/dri/card0");
    let before = fake.listing();
    let answer = world.vfioctl(User::Alice, &["bind", GPU]);
    answer.fails(1, "InUse");
    assert_eq!(
        answer.message(),
        "0000:01:00.0 is in use by Xorg (process 4711, /dev/dri/card0)"
    );
    assert_same(&fake.listing(), &before, "afterwards");
    fake.machine().end(4711);
    world.vfioctl(User::Alice, &["bind", GPU]).done();
}
