//! How long what containers use is theirs: over a helper's death, and not over a boot; and what comes
//! first where others are at it at the same moment.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::container::{CARD, MATE, assert_claimed, assert_ended, assert_refused, claim, end};
use super::lab_crash::{START, STRACE};
use super::pin::restart;
use super::{AUDIO, Case, GPU, both, fake_only, lab_only};
use crate::fake::Fault;
use crate::world::{LabWorld, User, World, assert_same, call_script};

pub(super) const CASES: &[Case] = &[
    both("claims_of_containers_outlive_the_helper", outlives),
    both("claims_of_containers_end_with_their_devices", unplugged),
    both("of_a_bind_and_a_claim_at_once_one_wins", race),
    fake_only(
        "claims_of_containers_end_with_the_boot",
        "machines::reboot_ends_claims",
        reboot,
    ),
    fake_only(
        "claims_of_containers_are_kept_wherever_a_bind_is_killed",
        "there it is killed at its system calls: bind_killed_at_every_system_call_is_recovered",
        bind_killed,
    ),
    fake_only(
        "claim_of_what_is_half_bound_is_refused",
        "a real kernel does not hang when told to",
        half_bound,
    ),
    fake_only(
        "claim_while_a_bind_is_under_way_is_told_by_whom",
        "the moment cannot be hit there",
        under_way,
    ),
    fake_only(
        "pinned_card_that_a_container_uses_is_not_torn_away",
        "no program of the lab uses its display",
        pinned,
    ),
    lab_only(
        "claim_killed_at_every_system_call_is_there_or_not",
        "there is no strace for it",
        |world| killed(world.lab().unwrap()),
    ),
];

const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";
const THIS_BOOT: &str = "5e3b1b0c-0000-4000-8000-000000000001\n";
const NEXT_BOOT: &str = "5e3b1b0c-0000-4000-8000-000000000002\n";

fn outlives(world: &dyn World) {
    let before = world.picture();
    assert_claimed(&claim(world, User::Alice, "a", &[CARD]), false);
    assert_claimed(&claim(world, User::Bob, "b", &[CARD]), false);
    let claimed = world.picture();
    world.kill_helper();
    world.start_helper();
    let recovered = world.vfioctl(User::Alice, &["recover"]).done();
    assert_eq!(recovered["recovered"], json!([]));
    assert_same(&world.picture(), &claimed, "after a kill");
    world
        .vfioctl(User::Bob, &["bind", MATE])
        .fails(1, "InContainer");
    // A runner that asks again is told that it has it.
    assert_claimed(&claim(world, User::Alice, "a", &[CARD]), true);
    assert_ended(&end(world, User::Alice, "a"));
    assert_ended(&end(world, User::Bob, "b"));
    assert_same(&world.picture(), &before, "afterwards");
}

fn reboot(world: &dyn World) {
    let fake = world.fake().unwrap();
    let before = fake.listing();
    assert_claimed(&claim(world, User::Alice, "a", &[CARD]), false);
    assert_claimed(&claim(world, User::Bob, "b", &[CARD, MATE]), false);
    fake.machine().write(BOOT_ID, NEXT_BOOT);
    fake.faults().tell(&[]);
    world.start_helper();
    let recovered = world.vfioctl(User::Alice, &["recover"]).done();
    assert_eq!(recovered["recovered"], json!([]));
    assert_eq!(fake.faults().asked(), Vec::<String>::new());
    assert!(world.state().is_empty(), "{:?}", world.state());
    world.vfioctl(User::Bob, &["bind", MATE]).done();
    world.vfioctl(User::Bob, &["release", MATE]).done();
    fake.machine().write(BOOT_ID, THIS_BOOT);
    assert_same(&fake.listing(), &before, "afterwards");
}

/// Takes a function out of the machine, and puts it back.
fn remove(world: &dyn World, address: &str) {
    if let Some(fake) = world.fake() {
        fake.kernel().remove(address).unwrap();
        assert_eq!(world.vfioctl(User::Bob, &["hotplug"]).status, 0);
    }
    if let Some(lab) = world.lab() {
        lab.root(&format!("echo 1 >/sys/bus/pci/devices/{address}/remove"));
    }
}

fn unplugged(world: &dyn World) {
    assert_claimed(&claim(world, User::Alice, "one", &[CARD]), false);
    assert_claimed(&claim(world, User::Alice, "both", &[CARD, MATE]), false);
    assert_claimed(&claim(world, User::Bob, "other", &[GPU, AUDIO]), false);
    remove(world, CARD);
    // In the lab udev tells.
    let deadline = Instant::now() + Duration::from_secs(60);
    let left = [
        "claims/container-1001-both.json",
        "claims/container-1002-other.json",
    ];
    while world.state() != left {
        assert!(Instant::now() < deadline, "{:?}", world.state());
        std::thread::sleep(Duration::from_millis(100));
    }
    // Of the other one something is still there.
    assert_eq!(world.driver(MATE).as_deref(), Some("bochs-drm"));
    assert_ended(&end(world, User::Alice, "both"));
    assert_ended(&end(world, User::Bob, "other"));
}

/// Whoever comes first, the other one is told, and nothing is left half done.
fn race(world: &dyn World) {
    let (rounds, step) = match world.fake() {
        Some(_) => (20, Duration::from_millis(2)),
        None => (4, Duration::from_millis(200)),
    };
    let before = world.picture();
    let (mut bound, mut claimed) = (0, 0);
    for round in 0..rounds {
        let (bind, container) = std::thread::scope(|scope| {
            let bind = scope.spawn(|| world.vfioctl(User::Bob, &["bind", MATE]));
            let container = scope.spawn(|| {
                // A program that only asks is faster than a command that has to be started.
                std::thread::sleep(step * round);
                claim(world, User::Alice, "c", &[CARD])
            });
            (bind.join().unwrap(), container.join().unwrap())
        });
        match (bind.status, &container["error"]) {
            (0, _) => {
                bound += 1;
                let reason = container["parameters"]["reason"].as_str();
                let told = ["Claimed", "Busy", "OnVfio", "NoDriver"];
                assert!(
                    reason.is_some_and(|reason| told.contains(&reason)),
                    "{container:#}"
                );
                world.vfioctl(User::Bob, &["release", MATE]).done();
            }
            (_, Value::Null) => {
                claimed += 1;
                let name = bind.json["error"]["name"].as_str().unwrap_or_default();
                assert!(["InContainer", "Busy"].contains(&name), "{bind}");
                assert_ended(&end(world, User::Alice, "c"));
            }
            // Each saw the other one at work.
            _ => {
                assert_refused(&container, "Busy");
                bind.fails(2, "Busy");
            }
        }
        assert_same(&world.picture(), &before, "afterwards");
    }
    eprintln!("of {rounds} rounds {bound} were bound and {claimed} claimed");
}

fn under_way(world: &dyn World) {
    let fake = world.fake().unwrap();
    // Reading back waits two seconds for an effect that does not come.
    fake.faults().tell(&[(1, Fault::NoEffect)]);
    let before = fake.listing();
    std::thread::scope(|scope| {
        let bind = scope.spawn(|| world.vfioctl(User::Bob, &["bind", MATE]));
        let deadline = Instant::now() + Duration::from_secs(30);
        while fake.faults().asked().is_empty() {
            assert!(Instant::now() < deadline, "no step is asked for");
            std::thread::sleep(Duration::from_millis(1));
        }
        let reply = claim(world, User::Alice, "c", &[CARD]);
        let message = assert_refused(&reply, "Busy");
        let by = "is being worked on for user 'bob' at this moment";
        assert!(message.ends_with(by), "{message}");
        bind.join().unwrap().fails(2, "Failed");
    });
    fake.faults().tell(&[]);
    assert_same(&fake.listing(), &before, "afterwards");
    assert_claimed(&claim(world, User::Alice, "c", &[CARD]), false);
}

/// The helper is killed before and after each step of a bind, while containers use other cards.
fn bind_killed(world: &dyn World) {
    let fake = world.fake().unwrap();
    assert_claimed(&claim(world, User::Alice, "a", &[CARD]), false);
    assert_claimed(&claim(world, User::Bob, "b", &[CARD, MATE]), false);
    let before = fake.listing();
    for index in 1..=6 {
        for fault in [Fault::DieBefore, Fault::DieAfter] {
            fake.faults().tell(&[(index, fault)]);
            world
                .vfioctl(User::Alice, &["bind", GPU])
                .fails(2, "HelperBroken");
            fake.wait_for_helper_end();
            fake.faults().tell(&[]);
            world.start_helper();
            let recovered = world.vfioctl(User::Alice, &["recover"]).done();
            assert_eq!(recovered["recovered"][0]["addresses"], json!([GPU, AUDIO]));
            let touched = fake.faults().asked();
            let is_of_containers = |step: &String| step.contains(CARD) || step.contains(MATE);
            assert!(!touched.iter().any(is_of_containers), "{touched:?}");
            assert_same(&fake.listing(), &before, &format!("{index} {fault:?}"));
        }
    }
}

/// A bind that hangs is brought home some day: until then nobody else has the device.
fn half_bound(world: &dyn World) {
    let fake = world.fake().unwrap();
    let before = fake.listing();
    // The override is written, the unbind hangs.
    fake.faults().tell(&[(2, Fault::Hang)]);
    world
        .vfioctl(User::Bob, &["bind", "0000:07:00.0"])
        .fails(2, "Failed");
    let reply = claim(world, User::Alice, "c", &["0000:07:00.0"]);
    assert_refused(&reply, "Unfinished");
    fake.kernel().land();
    world.vfioctl(User::Bob, &["recover"]).done();
    assert_same(&fake.listing(), &before, "afterwards");
    let reply = claim(world, User::Alice, "c", &["0000:07:00.0"]);
    assert_claimed(&reply, false);
}

/// A pin whose device was in use when the machine started, and then by a container of the very
/// user.
fn pinned(world: &dyn World) {
    let fake = world.fake().unwrap();
    world
        .vfioctl(User::Alice, &["bind", "--persist", CARD])
        .done();
    fake.kill_helper();
    fake.machine().open_by(4711, "Xorg", "/dev/dri/card2");
    restart(fake, &[(CARD, "bochs-drm"), (MATE, "bochs-drm")]);
    assert_eq!(world.vfioctl(User::Alice, &["recover"]).status, 1);
    assert_claimed(&claim(world, User::Alice, "c", &[CARD, MATE]), false);
    fake.machine().end(4711);
    let claimed = world.picture();
    fake.faults().tell(&[]);
    for words in [&["recover"][..], &["recover", "--plan"], &["hotplug"]] {
        assert_ne!(world.vfioctl(User::Alice, words).status, 2, "{words:?}");
    }
    assert_eq!(fake.faults().asked(), Vec::<String>::new());
    assert_same(&world.picture(), &claimed, "afterwards");
    let list = world.vfioctl(User::Alice, &["list"]).done();
    let problem = list["pins"][0]["problem"].as_str().unwrap_or_default();
    assert!(
        problem.contains("container 'c' of user 'alice'"),
        "{list:#}"
    );
    // With the container's end the pin is kept again.
    assert_ended(&end(world, User::Alice, "c"));
    world.vfioctl(User::Alice, &["recover"]).done();
    assert_eq!(world.driver(CARD).as_deref(), Some("vfio-pci"));
}

/// The real helper, killed at each system call that changes its state; a claim is one file.
fn killed(lab: &LabWorld) {
    let request = json!({
        "method": "io.vfioctl.Container.Claim",
        "parameters": {"name": "c", "addresses": [CARD]},
    });
    let request = call_script(&request.to_string());
    let before = lab.picture();
    lab.stop_helper();
    // Written, put in place, its folder made sure of.
    for (call, at) in [("fsync", 1), ("renameat", 1), ("fsync", 2)] {
        let when = format!("{call} {at}");
        lab.root(&format!(
            "{START} start '{STRACE} -e trace={call} -e inject={call}:signal=SIGKILL:when={at}'
            {request}; stop; start ''"
        ));
        let is_there = lab.state() == ["claims/container-0-c.json"];
        assert_eq!(
            is_there,
            (call, at) == ("fsync", 2),
            "killed at {when}: {:?}",
            lab.state()
        );
        assert_claimed(&claim(lab, User::Root, "c", &[CARD]), is_there);
        assert_ended(&end(lab, User::Root, "c"));
        lab.root(&format!("{START} stop"));
        assert_same(&lab.picture(), &before, &when);
    }
}
