//! Every step failing in turn, in every way that a kernel knows.

use super::{Case, GPU, fake_only};
use crate::fake::Fault;
use crate::world::{FakeWorld, User, World, assert_same};

const REASON: &str = "a real kernel does not fail when told to";

pub(super) const CASES: &[Case] = &[
    fake_only("bind_is_undone_whichever_step_fails", REASON, |world| {
        bind_fails(
            world,
            Fault::Errno(libc::EIO),
            "Input/output error (os error 5)",
        );
    }),
    fake_only(
        "bind_is_undone_whichever_step_has_no_effect",
        REASON,
        |world| {
            let because = "the kernel took the write, but reading back shows no effect";
            bind_fails(world, Fault::NoEffect, because);
        },
    ),
    fake_only(
        "bind_that_hangs_comes_home_when_the_write_lands",
        REASON,
        bind_hangs,
    ),
    fake_only(
        "release_that_hangs_comes_home_when_the_write_lands",
        REASON,
        release_hangs,
    ),
    fake_only(
        "release_whose_step_fails_comes_home_by_recover",
        REASON,
        release_fails,
    ),
    fake_only(
        "bind_that_is_refused_for_a_moment_is_tried_again",
        REASON,
        again,
    ),
];

/// The steps of a bind of the card, by binding it once; it is released again.
fn steps_of_bind(fake: &FakeWorld) -> Vec<String> {
    fake.faults().tell(&[]);
    fake.vfioctl(User::Alice, &["bind", GPU]).done();
    let steps = fake.faults().asked();
    fake.vfioctl(User::Alice, &["release", GPU]).done();
    assert!(steps.len() >= 6, "{steps:?}");
    steps
}

fn bind_fails(world: &dyn World, fault: Fault, because: &str) {
    let fake = world.fake().unwrap();
    let steps = steps_of_bind(fake);
    let before = fake.listing();
    for (index, step) in steps.iter().enumerate() {
        fake.faults().tell(&[(index + 1, fault)]);
        let answer = world.vfioctl(User::Alice, &["bind", GPU]);
        answer.fails(2, "Failed");
        assert_eq!(
            answer.message(),
            format!("could not {step}: {because}; everything is as it was before")
        );
        assert_same(&fake.listing(), &before, step);
    }
}

/// What hangs cannot be undone; the answer says so, and nothing is forgotten.
fn bind_hangs(world: &dyn World) {
    let fake = world.fake().unwrap();
    let steps = steps_of_bind(fake);
    let before = fake.listing();
    for (index, step) in steps.iter().enumerate() {
        fake.faults().tell(&[(index + 1, Fault::Hang)]);
        let answer = world.vfioctl(User::Alice, &["bind", GPU]);
        answer.fails(2, "Failed");
        let told = "not everything could be put back as it was before";
        assert!(answer.message().ends_with(told), "{step}: {answer}");
        assert!(!world.state().is_empty(), "{step}");
        if index == 0 {
            // Once: the helper waits for some seconds each time.
            let answer = world.vfioctl(User::Alice, &["recover"]);
            assert_eq!(answer.status, 1, "{step}: still hanging: {answer}");
        }
        fake.kernel().land();
        let recovered = world.vfioctl(User::Alice, &["recover"]).done();
        assert_eq!(
            recovered["recovered"][0]["home"], true,
            "{step}: {recovered:#}"
        );
        assert_same(&fake.listing(), &before, step);
    }
}

fn release_hangs(world: &dyn World) {
    let fake = world.fake().unwrap();
    let before = fake.listing();
    for index in 0..steps_of_release(fake) {
        world.vfioctl(User::Alice, &["bind", GPU]).done();
        fake.faults().tell(&[(index + 1, Fault::Hang)]);
        world
            .vfioctl(User::Alice, &["release", GPU])
            .fails(2, "Failed");
        fake.kernel().land();
        let recovered = world.vfioctl(User::Alice, &["recover"]).done();
        assert_eq!(
            recovered["recovered"][0]["home"], true,
            "{index}: {recovered:#}"
        );
        assert_same(&fake.listing(), &before, &format!("step {index}"));
        fake.faults().tell(&[]);
    }
}

/// A step of a release that fails leaves something to recover; only where the native driver will
/// not have its device back is there nothing to wait for, and that is told.
fn release_fails(world: &dyn World) {
    let fake = world.fake().unwrap();
    let before = fake.listing();
    for index in 0..steps_of_release(fake) {
        world.vfioctl(User::Alice, &["bind", GPU]).done();
        fake.faults().tell(&[(index + 1, Fault::Errno(libc::EIO))]);
        let answer = world.vfioctl(User::Alice, &["release", GPU]);
        let step = fake.faults().asked()[index].clone();
        fake.faults().tell(&[]);
        if let Some(rest) = step.strip_prefix("bind ") {
            assert_eq!(answer.status, 1, "{step}: {answer}");
            let told = format!("could not {step}: Input/output error (os error 5)");
            assert_eq!(answer.texts("/leftovers"), [told]);
            let (address, driver) = rest.split_once(" to ").unwrap();
            fake.kernel().bind(driver, address).unwrap();
        } else {
            answer.fails(2, "Failed");
            let recovered = world.vfioctl(User::Alice, &["recover"]).done();
            assert_eq!(
                recovered["recovered"][0]["home"], true,
                "{step}: {recovered:#}"
            );
        }
        assert_same(&fake.listing(), &before, &step);
    }
}

fn steps_of_release(fake: &FakeWorld) -> usize {
    fake.vfioctl(User::Alice, &["bind", GPU]).done();
    fake.faults().tell(&[]);
    fake.vfioctl(User::Alice, &["release", GPU]).done();
    fake.faults().asked().len()
}

/// A worker of udev holds the device lock for a moment: the kernel says EAGAIN.
fn again(world: &dyn World) {
    let fake = world.fake().unwrap();
    let steps = steps_of_bind(fake);
    let bind = steps
        .iter()
        .position(|step| step.starts_with("bind "))
        .unwrap();
    let fault = Fault::Errno(libc::EAGAIN);
    fake.faults().tell(&[(bind + 1, fault), (bind + 2, fault)]);
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    assert_eq!(fake.faults().asked().len(), steps.len() + 2);
}
