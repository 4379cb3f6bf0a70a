//! What is refused, each with its exit status and the name of its error.

use super::{AUDIO, Case, GPU, both, fake_only};
use crate::world::{User, World, assert_same};

pub(super) const CASES: &[Case] = &[
    both("user_outside_the_group_is_refused", outside),
    both("addresses_that_cannot_be_bound_are_refused", addresses),
    both("group_the_machine_lives_on_is_refused", host_needs),
    both("device_of_another_user_is_refused", claimed),
    both("release_of_what_one_has_not_is_refused", not_owner),
    both("helper_that_does_not_run_is_told", not_running),
    both("helper_older_than_the_command_is_told", too_old),
    fake_only(
        "plan_that_is_no_longer_true_is_refused",
        "the moment between plan and bind cannot be hit there",
        changed,
    ),
];

/// Runs a refusal, and makes sure that it changed nothing.
#[track_caller]
fn refused(world: &dyn World, user: User, arguments: &[&str], status: i32, name: &str) {
    world.vfioctl(user, arguments).fails(status, name);
}

fn outside(world: &dyn World) {
    let before = world.picture();
    for arguments in [
        &["bind", GPU][..],
        &["release", GPU],
        &["recover"],
        &["vm", "list"],
    ] {
        refused(world, User::Carol, arguments, 2, "HelperNotPermitted");
    }
    assert_same(&world.picture(), &before, "afterwards");
}

fn addresses(world: &dyn World) {
    let before = world.picture();
    for plan in [&[][..], &["--plan"]] {
        for (address, status, name) in [
            ("0000:1f:00.0", 2, "UnknownAddress"),
            ("0000:0x:00.0", 2, "Usage"),
            ("../../etc", 2, "Usage"),
            ("0000:00:04.0", 1, "Bridge"),
            ("0000:00:05.0", 1, "Bridge"),
            ("0000:81:00.0", 1, "NoGroup"),
        ] {
            let arguments = [&["bind", address], plan].concat();
            refused(world, User::Alice, &arguments, status, name);
        }
    }
    assert_same(&world.picture(), &before, "afterwards");
}

fn host_needs(world: &dyn World) {
    let before = world.picture();
    for address in ["0000:0c:00.0", "0000:0d:00.0"] {
        refused(world, User::Alice, &["bind", address], 1, "NeededByHost");
    }
    assert_same(&world.picture(), &before, "afterwards");
}

fn claimed(world: &dyn World) {
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    let bound = world.picture();
    for address in [GPU, AUDIO] {
        let answer = world.vfioctl(User::Bob, &["bind", address]);
        answer.fails(1, "Claimed");
        assert_eq!(
            answer.message(),
            "0000:01:00.0 belongs to user 'alice'",
            "{answer}"
        );
    }
    assert_same(&world.picture(), &bound, "afterwards");
}

fn not_owner(world: &dyn World) {
    let before = world.picture();
    for (address, status, name) in [
        (GPU, 1, "NotClaimed"),
        ("0000:1f:00.0", 2, "UnknownAddress"),
        ("x", 2, "Usage"),
    ] {
        refused(world, User::Alice, &["release", address], status, name);
        refused(
            world,
            User::Alice,
            &["release", address, "--plan"],
            status,
            name,
        );
    }
    assert_same(&world.picture(), &before, "afterwards");
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    let bound = world.picture();
    refused(world, User::Bob, &["release", AUDIO], 1, "NotOwner");
    refused(
        world,
        User::Bob,
        &["release", AUDIO, "--plan"],
        1,
        "NotOwner",
    );
    assert_same(&world.picture(), &bound, "afterwards");
}

fn not_running(world: &dyn World) {
    let before = world.picture();
    world.stop_helper();
    for arguments in [
        &["bind", GPU][..],
        &["release", GPU],
        &["recover"],
        &["vm", "list"],
    ] {
        refused(world, User::Alice, arguments, 2, "HelperNotRunning");
    }
    assert_same(&world.picture(), &before, "afterwards");
    world.start_helper();
    world.vfioctl(User::Alice, &["recover"]).done();
}

fn too_old(world: &dyn World) {
    let before = world.picture();
    for reply in [
        r#"{"parameters":{"version":"0.0.1","level":0}}"#,
        r#"{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"GetVersion"}}"#,
        r#"{"error":"org.varlink.service.InterfaceNotFound","parameters":{"interface":"x"}}"#,
    ] {
        let socket = world.old_helper(reply);
        let arguments = ["bind", GPU, "--socket", &socket];
        refused(world, User::Alice, &arguments, 2, "HelperTooOld");
    }
    assert_same(&world.picture(), &before, "afterwards");
}

fn changed(world: &dyn World) {
    let fake = world.fake().unwrap();
    let before = fake.listing();
    let mut client = vfioctl_protocol::Client::connect(&fake.socket()).unwrap();
    let seen = serde_json::json!({"address": GPU, "members": [GPU]});
    let limit = std::time::Duration::from_secs(30);
    let answer = client.call::<serde_json::Value>("io.vfioctl.Device.Bind", seen, limit);
    let Err(vfioctl_protocol::ClientError::Remote(error)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(error.reason(), Some("Changed"));
    assert_same(&fake.listing(), &before, "afterwards");
}
