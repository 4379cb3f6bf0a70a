//! The helper killed between any two steps.

use serde_json::json;

use super::{AUDIO, Case, GPU, both, fake_only};
use crate::fake::Fault;
use crate::world::{FakeWorld, User, World, assert_same};

const REASON: &str =
    "there it is killed at its system calls: bind_killed_at_every_system_call_is_recovered";

pub(super) const CASES: &[Case] = &[
    fake_only(
        "bind_killed_between_any_two_steps_is_recovered",
        REASON,
        |world| {
            killed(world, "bind", "a bind that was not finished");
        },
    ),
    fake_only(
        "release_killed_between_any_two_steps_is_recovered",
        REASON,
        |world| {
            killed(world, "release", "a release that was not finished");
        },
    ),
    both("claim_outlives_the_helper", claim_stays),
    fake_only(
        "claim_of_an_earlier_boot_is_ended",
        "machines::reboot_ends_claims",
        earlier_boot,
    ),
];

/// Kills the helper before and after each step of a bind or a release, starts a new one and lets
/// it recover: everything is as it was before the bind.
fn killed(world: &dyn World, verb: &str, found: &str) {
    let fake = world.fake().unwrap();
    let before = fake.listing();
    for index in 0..count_steps(fake, verb) {
        for fault in [Fault::DieBefore, Fault::DieAfter] {
            if verb == "release" {
                world.vfioctl(User::Alice, &["bind", GPU]).done();
            }
            fake.faults().tell(&[(index + 1, fault)]);
            world
                .vfioctl(User::Alice, &[verb, GPU])
                .fails(2, "HelperBroken");
            fake.wait_for_helper_end();
            fake.faults().tell(&[]);
            world.start_helper();
            let recovered = world.vfioctl(User::Alice, &["recover"]).done();
            let told = &recovered["recovered"][0];
            assert_eq!(told["found"], found, "{index} {fault:?}: {recovered:#}");
            assert_eq!(told["addresses"], json!([GPU, AUDIO]));
            assert_eq!(told["owner"]["user"], "alice");
            assert_eq!(
                (&told["home"], &told["leftovers"]),
                (&json!(true), &json!([]))
            );
            assert_same(&fake.listing(), &before, &format!("{index} {fault:?}"));
            let again = world.vfioctl(User::Alice, &["recover"]).done();
            assert_eq!(again["recovered"], json!([]), "it is told once");
        }
    }
}

fn count_steps(fake: &FakeWorld, verb: &str) -> usize {
    let mut count = 0;
    for asked in ["bind", "release"] {
        fake.faults().tell(&[]);
        fake.vfioctl(User::Alice, &[asked, GPU]).done();
        if asked == verb {
            count = fake.faults().asked().len();
        }
    }
    assert!(count >= 6, "{count} steps");
    count
}

/// What a person bound stays bound when the helper ends, however it ends.
fn claim_stays(world: &dyn World) {
    let before = world.picture();
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    let bound = world.picture();
    world.kill_helper();
    world.start_helper();
    let recovered = world.vfioctl(User::Bob, &["recover"]).done();
    assert_eq!(recovered["recovered"], json!([]));
    assert_same(&world.picture(), &bound, "afterwards");
    world.vfioctl(User::Bob, &["bind", GPU]).fails(1, "Claimed");
    world.vfioctl(User::Alice, &["release", GPU]).done();
    assert_same(&world.picture(), &before, "afterwards");
}

fn earlier_boot(world: &dyn World) {
    let fake = world.fake().unwrap();
    let before = world.picture();
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    fake.machine().write(
        "proc/sys/kernel/random/boot_id",
        "5e3b1b0c-0000-4000-8000-000000000002\n",
    );
    world.start_helper();
    let recovered = world.vfioctl(User::Alice, &["recover"]).done();
    let told = &recovered["recovered"][0];
    assert_eq!(
        told["found"], "a claim from before the last boot",
        "{recovered:#}"
    );
    assert_same(&world.picture(), &before, "afterwards");
}
