//! Devices that stay bound over reboots.

use serde_json::json;

use super::{AUDIO, Case, GPU, both, fake_only};
use crate::world::{FakeWorld, Picture, User, World, assert_same};

const REBOOT: &str = "the lab is really booted: tests/suites/pins.rs";

pub(super) const CASES: &[Case] = &[
    both(
        "pinned_device_is_shown_and_release_unpins_it",
        there_and_back,
    ),
    both("what_one_has_is_only_pinned", pin_what_is_held),
    both("plan_with_persist_pins_nothing", plan),
    both("pin_of_someone_else_is_refused_and_left", of_others),
    both("notice_for_nothing_does_nothing", idle_notice),
    fake_only("pinned_device_is_its_owners_after_a_reboot", REBOOT, reboot),
    fake_only(
        "pinned_device_on_its_driver_after_a_reboot_is_bound_again",
        REBOOT,
        lost_race,
    ),
    fake_only(
        "another_device_at_a_pinned_address_is_left_alone",
        "no card can be exchanged in the lab",
        exchanged,
    ),
    fake_only(
        "pinned_device_in_use_is_refused_like_any",
        "no program of the lab uses its display",
        in_use,
    ),
    fake_only(
        "helper_killed_while_it_pins_leaves_a_pin_or_none",
        "there it is killed at its system calls",
        killed,
    ),
    fake_only("pin_without_a_claim_is_kept", REBOOT, no_claim),
    fake_only(
        "machine_gives_a_pinned_device_back_to_its_user",
        "there machines run: tests/suites/pins.rs",
        machine,
    ),
];

fn names() -> [String; 2] {
    [
        format!("{GPU}-0x1234-0x1111-0x1af4-0x1100"),
        format!("{AUDIO}-0x8086-0x293e-0x1af4-0x1100"),
    ]
}

fn is_held(world: &dyn World, user: User) {
    for address in [GPU, AUDIO] {
        assert_eq!(world.driver(address).as_deref(), Some("vfio-pci"));
        assert_eq!(world.driver_override(address), "vfio-pci");
    }
    let node = world.node(&world.group(GPU));
    assert_eq!(node, Some(format!("{} 600", user.uid())));
    assert_eq!(world.pins(), names());
    let list = world.vfioctl(user, &["list"]).done();
    assert_eq!(list["claims"][0]["owner"]["user"], user.name(), "{list:#}");
    assert_eq!(list["claims"][0]["addresses"], json!([GPU, AUDIO]));
    assert_eq!(list["pins"][0]["problem"], json!(null), "{list:#}");
}

fn there_and_back(world: &dyn World) {
    let before = world.picture();
    let bound = world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    assert_eq!(
        (&bound["pinned"], &bound["already"]),
        (&json!(true), &json!(false))
    );
    is_held(world, User::Alice);
    let shown = world.vfioctl(User::Bob, &["show", AUDIO]).done();
    assert_eq!(shown["function"]["pinned"], true, "{shown:#}");
    assert_eq!(
        shown["function"]["state"]["text"],
        "claimed by alice, pinned"
    );
    let planned = world
        .vfioctl(User::Alice, &["release", GPU, "--plan"])
        .done();
    assert_eq!(planned["unpinned"], json!([GPU, AUDIO]));
    assert_eq!(world.pins(), names());
    let released = world.vfioctl(User::Alice, &["release", GPU]).done();
    assert_eq!(released["unpinned"], json!([GPU, AUDIO]), "{released:#}");
    assert_same(&world.picture(), &before, "afterwards");
}

fn pin_what_is_held(world: &dyn World) {
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    assert!(world.pins().is_empty());
    let bound = world
        .vfioctl(User::Alice, &["bind", "--persist", AUDIO])
        .done();
    assert_eq!(
        (&bound["pinned"], &bound["already"]),
        (&json!(true), &json!(true))
    );
    is_held(world, User::Alice);
    let pinned = world.picture();
    for words in [["bind", GPU, "--persist"].as_slice(), &["bind", GPU]] {
        let again = world.vfioctl(User::Alice, words).done();
        assert_eq!(again["pinned"], true, "{again:#}");
        assert_same(&world.picture(), &pinned, "afterwards");
    }
    world.vfioctl(User::Root, &["release", GPU]).done();
    assert!(world.pins().is_empty());
}

fn plan(world: &dyn World) {
    let before = world.picture();
    let words = ["bind", GPU, "--persist", "--plan"];
    let planned = world.vfioctl(User::Alice, &words).done();
    assert_eq!(planned["pinned"], true);
    assert_eq!(planned["members"], json!([GPU, AUDIO]));
    assert_same(&world.picture(), &before, "afterwards");
}

fn of_others(world: &dyn World) {
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    let pinned = world.picture();
    for words in [["bind", "--persist", GPU], ["bind", GPU, "--plan"]] {
        world.vfioctl(User::Bob, &words).fails(1, "Claimed");
    }
    world
        .vfioctl(User::Bob, &["release", GPU])
        .fails(1, "NotOwner");
    assert_same(&world.picture(), &pinned, "afterwards");
}

fn idle_notice(world: &dyn World) {
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    world.vfioctl(User::Alice, &["bind", "03:00.0"]).done();
    let bound = world.picture();
    // Any member may tell, and nothing comes of it.
    assert_eq!(world.vfioctl(User::Bob, &["hotplug"]).status, 0);
    assert_same(&world.picture(), &bound, "afterwards");
}

/// Starts the machine anew: another boot, no VFIO nodes of before, drivers as the kernel and udev
/// give them out.
pub(super) fn restart(fake: &FakeWorld, drivers: &[(&str, &str)]) {
    fake.kill_helper();
    fake.machine().write(
        "proc/sys/kernel/random/boot_id",
        "5e3b1b0c-0000-4000-8000-000000000002\n",
    );
    for (address, driver) in drivers {
        fake.kernel().unbind("vfio-pci", address).unwrap();
        let is_pinned = *driver == "vfio-pci";
        let text = if is_pinned { "vfio-pci" } else { "" };
        fake.kernel().set_override(address, text).unwrap();
        fake.kernel().bind(driver, address).unwrap();
    }
    fake.start_helper();
}

const ON_VFIO: [(&str, &str); 2] = [(GPU, "vfio-pci"), (AUDIO, "vfio-pci")];
const ON_NATIVE: [(&str, &str); 2] = [(GPU, "bochs-drm"), (AUDIO, "snd_hda_intel")];

fn reboot(world: &dyn World) {
    let fake = world.fake().unwrap();
    let before = world.picture();
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    restart(fake, &ON_VFIO);
    let recovered = world.vfioctl(User::Alice, &["recover"]).done();
    let told = &recovered["recovered"][0];
    assert_eq!(told["found"], "a pinned device", "{recovered:#}");
    assert_eq!((&told["home"], &told["steps"]), (&json!(true), &json!([])));
    is_held(world, User::Alice);
    let again = world.vfioctl(User::Alice, &["recover"]).done();
    assert_eq!(again["recovered"], json!([]), "it is told once");
    world.vfioctl(User::Alice, &["release", GPU]).done();
    assert_same(&world.picture(), &before, "afterwards");
}

fn lost_race(world: &dyn World) {
    let fake = world.fake().unwrap();
    let before = world.picture();
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    restart(fake, &ON_NATIVE);
    let recovered = world.vfioctl(User::Alice, &["recover"]).done();
    assert_eq!(recovered["recovered"][0]["home"], true, "{recovered:#}");
    is_held(world, User::Alice);
    world.vfioctl(User::Alice, &["release", GPU]).done();
    assert_same(&world.picture(), &before, "afterwards");
}

fn exchanged(world: &dyn World) {
    let fake = world.fake().unwrap();
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    fake.machine()
        .load_driver("nouveau", &[(0x10de, 0x2684)], false);
    fake.kill_helper();
    fake.machine().write(
        "proc/sys/kernel/random/boot_id",
        "5e3b1b0c-0000-4000-8000-000000000002\n",
    );
    // As the udev rule leaves it: the audio function is the same, and aimed at vfio-pci.
    fake.kernel().unbind("vfio-pci", GPU).unwrap();
    fake.kernel().set_override(GPU, "").unwrap();
    fake.machine().replace(GPU, 0x10de, 0x2684);
    fake.kernel().bind("nouveau", GPU).unwrap();
    fake.faults().tell(&[]);
    fake.start_helper();
    let recovered = world.vfioctl(User::Alice, &["recover"]);
    assert_eq!(recovered.status, 1, "{recovered}");
    let told = &recovered.json["recovered"][0];
    assert_eq!(
        recovered.json["recovered"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(
        told["leftovers"],
        json!(["0000:01:00.0 is now 10de:2684, not 1234:1111; left alone"]),
        "{recovered}"
    );
    let touched = fake.faults().asked();
    assert!(
        touched.iter().all(|step| !step.contains(GPU)),
        "{touched:?}"
    );
    assert_eq!(world.driver(GPU).as_deref(), Some("nouveau"));
    assert_eq!(world.driver(AUDIO).as_deref(), Some("snd_hda_intel"));
    assert_eq!(world.driver_override(AUDIO), "(null)");
    assert!(world.state().is_empty());
    let list = world.vfioctl(User::Bob, &["list"]).done();
    assert_eq!(list["pins"][0]["problem"], told["leftovers"][0], "{list:#}");
    assert_eq!(list["devices"][0]["functions"][0]["pinned"], false);
    // The new device can be had, and pinned once the old pin is forgotten.
    let refused = world.vfioctl(User::Bob, &["bind", "--persist", GPU]);
    refused.fails(1, "Pinned");
    assert_eq!(
        refused.message(),
        "user 'alice' has pinned 0000:01:00.0 (1234:1111), 0000:01:00.1 (8086:293e)"
    );
    world.vfioctl(User::Bob, &["bind", GPU]).done();
    world.vfioctl(User::Bob, &["release", GPU]).done();
    world
        .vfioctl(User::Bob, &["release", GPU])
        .fails(1, "NotOwner");
    let released = world.vfioctl(User::Alice, &["release", AUDIO]).done();
    assert_eq!(released["members"], json!([]), "{released:#}");
    assert_eq!(released["unpinned"], json!([GPU, AUDIO]));
    world.vfioctl(User::Bob, &["bind", "--persist", GPU]).done();
    assert_eq!(world.pins().len(), 2);
}

fn in_use(world: &dyn World) {
    let fake = world.fake().unwrap();
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    fake.kill_helper();
    fake.machine().open_by(4711, "Xorg", "/dev/dri/card0");
    restart(fake, &ON_NATIVE);
    let recovered = world.vfioctl(User::Alice, &["recover"]);
    assert_eq!(recovered.status, 1, "{recovered}");
    assert_eq!(
        recovered.json["recovered"][0]["leftovers"],
        json!(["0000:01:00.0 is in use by Xorg (process 4711, /dev/dri/card0)"])
    );
    assert_eq!(world.driver(GPU).as_deref(), Some("bochs-drm"));
    fake.machine().end(4711);
    world.vfioctl(User::Alice, &["recover"]).done();
    is_held(world, User::Alice);
}

/// The last file of a pin is the one that counts.
fn killed(world: &dyn World) {
    let fake = world.fake().unwrap();
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    let bound = world.picture();
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    let pinned = world.picture();
    let path = |name: &str| {
        fake.machine()
            .folder()
            .join("etc/vfioctl/pinned")
            .join(name)
    };
    let [first, second] = names();
    let again = |when: &str, expected: &Picture| {
        world.start_helper();
        let recovered = world.vfioctl(User::Alice, &["recover"]).done();
        assert_eq!(recovered["recovered"], json!([]), "{when}");
        assert_same(&world.picture(), expected, when);
    };
    world.kill_helper();
    std::fs::remove_file(path(&second)).unwrap();
    again("without the second file", &pinned);
    world.kill_helper();
    std::fs::rename(path(&first), path(&format!("{first}.new"))).unwrap();
    again("without the first file", &bound);
    world.vfioctl(User::Alice, &["release", GPU]).done();
}

/// A disk that lost the claim, or a kill between the two.
fn no_claim(world: &dyn World) {
    let fake = world.fake().unwrap();
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    let bound = world.picture();
    world.kill_helper();
    let claim = fake
        .machine()
        .folder()
        .join(format!("state/claims/{GPU}.json"));
    std::fs::remove_file(claim).unwrap();
    world.start_helper();
    let recovered = world.vfioctl(User::Alice, &["recover"]).done();
    assert_eq!(recovered["recovered"][0]["home"], true, "{recovered:#}");
    assert_same(&world.picture(), &bound, "afterwards");
}

/// QEMU does not start on a machine in a folder: the end of a machine like any other.
fn machine(world: &dyn World) {
    world
        .vfioctl(User::Alice, &["bind", "--persist", GPU])
        .done();
    let pinned = world.picture();
    let words = ["vm", "create", "one", "--memory", "64", "--kernel", "/k"];
    let words = [&words[..], &["--device", GPU]].concat();
    world.vfioctl(User::Alice, &words).fails(2, "Failed");
    assert_same(&world.picture(), &pinned, "afterwards");
    is_held(world, User::Alice);
}
