//! Changes of ACS, and devices grouped anew: what is seen, what fails, what is killed.
//!
//! Two cards behind a switch whose root port isolates. With the port's bits off and the switch
//! found anew, they share a group; an override splits them again.

use serde_json::{Value, json};

use super::{Case, both, fake_only};
use crate::fake::Fault;
use crate::world::{FakeWorld, User, World, assert_same};

const REASON: &str = "a real kernel does not fail when told to";

pub(super) const CASES: &[Case] = &[
    both("switch_is_joined_and_split_again", joined_and_split),
    both("plan_of_an_override_changes_nothing", plan),
    fake_only("override_is_undone_whichever_step_fails", REASON, |world| {
        fails(world, Fault::Errno(libc::EIO));
    }),
    fake_only(
        "override_is_undone_whichever_step_has_no_effect",
        REASON,
        |world| fails(world, Fault::NoEffect),
    ),
    fake_only(
        "override_that_hangs_comes_home_when_the_write_lands",
        REASON,
        hangs,
    ),
    fake_only(
        "override_killed_between_any_two_steps_is_recovered",
        "isolation::override_killed_at_every_system_call_is_recovered",
        killed,
    ),
    fake_only(
        "driver_and_override_of_before_are_restored",
        "the lab's devices have no override",
        restored,
    ),
];

const ROOT_PORT: &str = "0000:00:06.0";
const LEFT: &str = "0000:07:00.0";
const RIGHT: &str = "0000:08:00.0";

fn join(world: &dyn World) -> Value {
    let words = ["acs", "set", ROOT_PORT, "-rr,-cr", "--regroup"];
    world.vfioctl(User::Alice, &words).done()
}

fn split(world: &dyn World) -> crate::world::Answer {
    world.vfioctl(User::Alice, &["acs", "override", LEFT])
}

fn joined_and_split(world: &dyn World) {
    assert_ne!(world.group(LEFT), world.group(RIGHT));
    let done = join(world);
    assert_eq!(done["groups_now"], done["groups_predicted"]);
    assert_eq!(world.group(LEFT), world.group(RIGHT));
    let done = split(world).done();
    assert_eq!(done["groups_now"], done["groups_predicted"]);
    assert_ne!(world.group(LEFT), world.group(RIGHT));
    for card in [LEFT, RIGHT] {
        assert_eq!(world.driver(card).as_deref(), Some("bochs-drm"));
    }
    let audit = world.vfioctl(User::Bob, &["acs", "audit", LEFT]);
    assert_eq!(
        audit.json["changes"],
        json!([]),
        "the bits are as they were: {audit}"
    );
}

fn plan(world: &dyn World) {
    join(world);
    let before = world.picture();
    let planned = world
        .vfioctl(User::Alice, &["acs", "override", LEFT, "--plan"])
        .done();
    assert_eq!(planned["planned"], true);
    assert_same(&world.picture(), &before, "after a plan");
    let done = split(world).done();
    assert_eq!(done["steps"], planned["steps"]);
}

/// What the kernel is asked for when the cards are split, and for what is asked while undoing.
fn steps_of_split(fake: &FakeWorld) -> Vec<String> {
    fake.faults().tell(&[]);
    split(fake).done();
    let steps = fake.faults().asked();
    join(fake);
    assert!(steps.len() >= 5, "{steps:?}");
    steps
}

fn fails(world: &dyn World, fault: Fault) {
    let fake = world.fake().unwrap();
    join(world);
    let steps = steps_of_split(fake);
    let before = fake.listing();
    for (index, step) in steps.iter().enumerate() {
        fake.faults().tell(&[(index + 1, fault)]);
        let answer = split(world);
        fake.faults().tell(&[]);
        answer.fails(2, "Failed");
        assert!(
            answer.message().ends_with("everything is as it was before"),
            "{step}: {answer}"
        );
        assert_same(&fake.listing(), &before, step);
    }
}

fn hangs(world: &dyn World) {
    let fake = world.fake().unwrap();
    join(world);
    let steps = steps_of_split(fake);
    let before = fake.listing();
    for (index, step) in steps.iter().enumerate() {
        fake.faults().tell(&[(index + 1, Fault::Hang)]);
        split(world).fails(2, "Failed");
        fake.faults().tell(&[]);
        // Nothing else is begun while it hangs; a card may be away until it lands.
        let again = split(world);
        assert_ne!(again.status, 0, "{step}: {again}");
        fake.kernel().land();
        let recovered = world.vfioctl(User::Alice, &["recover"]).done();
        let told = &recovered["recovered"][0];
        assert_eq!(told["home"], true, "{step}: {recovered:#}");
        assert_same(&fake.listing(), &before, step);
    }
}

fn killed(world: &dyn World) {
    let fake = world.fake().unwrap();
    join(world);
    let steps = steps_of_split(fake);
    let before = fake.listing();
    for (index, step) in steps.iter().enumerate() {
        for fault in [Fault::DieBefore, Fault::DieAfter] {
            let when = format!("{fault:?} of '{step}'");
            fake.faults().tell(&[(index + 1, fault)]);
            split(world).fails(2, "HelperBroken");
            fake.wait_for_helper_end();
            fake.faults().tell(&[]);
            world.start_helper();
            let recovered = world.vfioctl(User::Alice, &["recover"]).done();
            let told = &recovered["recovered"][0];
            assert_eq!(
                told["found"], "a change of ACS that was not finished",
                "{when}: {recovered:#}"
            );
            assert_eq!(
                (&told["home"], &told["leftovers"]),
                (&json!(true), &json!([])),
                "{when}: {recovered:#}"
            );
            assert_same(&fake.listing(), &before, &when);
        }
    }
}

fn restored(world: &dyn World) {
    let fake = world.fake().unwrap();
    join(world);
    // One without a driver though one knows it, and one with an override.
    fake.kernel().unbind("bochs-drm", LEFT).unwrap();
    world.set_override(LEFT, "none");
    split(world).done();
    assert_eq!(world.driver(LEFT), None);
    assert_eq!(world.driver_override(LEFT), "none");
}
