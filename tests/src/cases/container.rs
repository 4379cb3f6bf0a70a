//! What containers use: shared or alone, and kept from everyone who would take it.

use serde_json::{Value, json};

use super::{AUDIO, Case, GPU, both, fake_only};
use crate::schema::assert_shape;
use crate::world::{User, World, assert_same};

pub(super) const CASES: &[Case] = &[
    both("containers_share_a_card_and_its_group_mate_stays", shared),
    both("container_that_has_a_card_alone_keeps_others_out", alone),
    both("what_others_have_no_container_can_use", taken),
    both("claim_of_several_functions_is_whole_or_not_at_all", whole),
    both("claim_that_is_asked_for_again_stands", again),
    both("release_of_what_a_container_uses_is_for_root", released),
    both("machine_with_what_a_container_uses_is_refused", machine),
    both("card_that_a_container_uses_is_not_grouped_anew", regrouped),
    both("reduced_isolation_keeps_guests_from_containers", reduced),
    fake_only(
        "card_on_vfio_or_without_a_driver_is_for_no_container",
        "there every card has its driver",
        no_driver,
    ),
    fake_only(
        "containers_of_one_user_are_bounded",
        "a fork costs 40 ms there, and this is 256",
        bounded,
    ),
];

/// A card behind a port without ACS, and the one that it shares its group with.
pub(super) const CARD: &str = "0000:03:00.0";
pub(super) const MATE: &str = "0000:04:00.0";
/// A card that no IOMMU covers.
const UNCOVERED: &str = "0000:81:00.0";

/// Claims functions for a container; the whole reply.
pub(super) fn claim(world: &dyn World, user: User, name: &str, addresses: &[&str]) -> Value {
    ask(world, user, json!({"name": name, "addresses": addresses}))
}

fn ask(world: &dyn World, user: User, parameters: Value) -> Value {
    world.call(user, "io.vfioctl.Container.Claim", &parameters)
}

pub(super) fn end(world: &dyn World, user: User, name: &str) -> Value {
    world.call(user, "io.vfioctl.Container.End", &json!({"name": name}))
}

#[track_caller]
pub(super) fn assert_claimed(reply: &Value, already: bool) {
    assert_eq!(reply["parameters"]["already"], already, "{reply:#}");
    assert!(reply["parameters"]["since"].is_i64(), "{reply:#}");
}

#[track_caller]
pub(super) fn assert_ended(reply: &Value) {
    assert_eq!(reply["error"], Value::Null, "{reply:#}");
}

#[track_caller]
pub(super) fn assert_refused<'a>(reply: &'a Value, reason: &str) -> &'a str {
    let refused = json!("io.vfioctl.Container.Refused");
    let found = (&reply["error"], &reply["parameters"]["reason"]);
    assert_eq!(found, (&refused, &json!(reason)), "{reply:#}");
    assert!(
        reply["parameters"]["hint"]
            .as_str()
            .is_some_and(|hint| !hint.is_empty())
    );
    reply["parameters"]["message"].as_str().unwrap()
}

fn shared(world: &dyn World) {
    let before = world.picture();
    let first = json!({"name": "train", "addresses": [CARD], "user": "ann"});
    assert_claimed(&ask(world, User::Alice, first), false);
    assert_claimed(&claim(world, User::Alice, "serve", &[CARD]), false);
    // Names are each user's own.
    assert_claimed(&claim(world, User::Bob, "train", &[CARD, UNCOVERED]), false);
    let files = [
        "claims/container-1001-serve.json",
        "claims/container-1001-train.json",
        "claims/container-1002-train.json",
    ];
    assert_eq!(world.state(), files);
    // Whoever would take it is told who is there, and where it is not the one that was named, why
    // it matters.
    let refused = world.vfioctl(User::Bob, &["bind", CARD]);
    refused.fails(1, "InContainer");
    let others = "is used by container 'serve' of user 'alice' and 2 other containers";
    assert_eq!(refused.message(), format!("{CARD} {others}"));
    let refused = world.vfioctl(User::Alice, &["bind", MATE]);
    refused.fails(1, "InContainer");
    let because = format!("{MATE} cannot be taken alone: {CARD} goes with it, and {CARD} {others}");
    assert_eq!(refused.message(), because);
    // Everyone sees it.
    let list = world.vfioctl(User::Bob, &["list", "--all"]).done();
    assert_shape("list", &list);
    let find = |address: &str| -> Value {
        let functions = list["devices"].as_array().unwrap().iter();
        let mut functions = functions.flat_map(|device| device["functions"].as_array().unwrap());
        functions
            .find(|it| it["address"] == address)
            .unwrap()
            .clone()
    };
    let card = find(CARD);
    assert_eq!(card["state"]["kind"], "in_containers", "{card:#}");
    assert_eq!(
        card["state"]["text"],
        "used by 3 containers of alice, ann, bob"
    );
    let train = json!({"name": "train", "exclusive": false, "user": "ann"});
    assert_eq!(card["containers"][1]["container"], train, "{card:#}");
    assert_eq!(card["containers"][1]["user"], "alice", "{card:#}");
    assert_eq!(find(MATE)["state"]["member"], CARD);
    assert_eq!(find(MATE)["containers"], json!([]));
    assert_shape("show", &world.vfioctl(User::Alice, &["show", CARD]).done());
    // Nothing was done to it.
    let mut now = world.picture();
    now.retain(|key, _| !key.starts_with("state "));
    assert_same(&now, &before, "with claims");
    for (user, name) in [
        (User::Alice, "train"),
        (User::Bob, "train"),
        (User::Alice, "serve"),
    ] {
        world
            .vfioctl(User::Bob, &["bind", MATE])
            .fails(1, "InContainer");
        assert_ended(&end(world, user, name));
    }
    let bound = world.vfioctl(User::Bob, &["bind", MATE]).done();
    assert_eq!(bound["members"], json!([CARD, MATE]));
    let message = claim(world, User::Alice, "late", &[CARD]);
    let message = assert_refused(&message, "Claimed");
    assert_eq!(message, format!("{CARD} belongs to user 'bob'"));
    world.vfioctl(User::Bob, &["release", CARD]).done();
    assert_same(&world.picture(), &before, "afterwards");
}

fn alone(world: &dyn World) {
    let before = world.picture();
    let alone = |name: &str| json!({"name": name, "addresses": [CARD], "exclusive": true});
    assert_claimed(&ask(world, User::Alice, alone("one")), false);
    for parameters in [alone("two"), json!({"name": "two", "addresses": [CARD]})] {
        for user in [User::Alice, User::Bob] {
            let reply = ask(world, user, parameters.clone());
            let message = assert_refused(&reply, "Exclusive");
            let owner = "container 'one' of user 'alice'";
            assert_eq!(
                message,
                format!("{CARD} is used by {owner}, which has it for itself")
            );
        }
    }
    assert_claimed(&claim(world, User::Bob, "mate", &[MATE]), false);
    assert_ended(&end(world, User::Alice, "one"));
    assert_claimed(&claim(world, User::Bob, "one", &[CARD]), false);
    assert_claimed(&claim(world, User::Bob, "two", &[CARD]), false);
    let reply = ask(world, User::Alice, alone("one"));
    assert_eq!(
        assert_refused(&reply, "Shared"),
        format!(
            "{CARD} is wanted for one container alone, and is used by container 'one' of user \
             'bob' and 1 other container"
        )
    );
    for name in ["one", "two", "mate"] {
        assert_ended(&end(world, User::Bob, name));
    }
    assert_same(&world.picture(), &before, "afterwards");
}

fn taken(world: &dyn World) {
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    let bound = world.picture();
    // Not even the one who bound it.
    for user in [User::Alice, User::Bob, User::Root] {
        for address in [GPU, AUDIO] {
            let reply = claim(world, user, "c", &[address]);
            let message = assert_refused(&reply, "Claimed");
            assert_eq!(message, format!("{address} belongs to user 'alice'"));
        }
    }
    for (address, reason) in [
        ("0000:1f:00.0", "UnknownAddress"),
        ("0000:00:04.0", "Bridge"),
        ("0000:00:00.0", "Platform"),
    ] {
        assert_refused(&claim(world, User::Bob, "c", &[address]), reason);
    }
    assert_same(&world.picture(), &bound, "afterwards");
}

fn whole(world: &dyn World) {
    world.vfioctl(User::Alice, &["bind", GPU]).done();
    let bound = world.picture();
    let reply = claim(world, User::Bob, "c", &[CARD, MATE, GPU]);
    assert_refused(&reply, "Claimed");
    assert_same(&world.picture(), &bound, "afterwards");
    world.vfioctl(User::Alice, &["release", GPU]).done();
    assert_claimed(&claim(world, User::Bob, "c", &[CARD, MATE, GPU]), false);
    let list = world.vfioctl(User::Alice, &["list"]).done();
    assert_eq!(list["claims"][0]["addresses"], json!([CARD, MATE, GPU]));
}

fn again(world: &dyn World) {
    let parameters = json!({"name": "c", "addresses": [CARD, MATE], "user": "ann"});
    assert_claimed(&ask(world, User::Alice, parameters), false);
    let claimed = world.picture();
    // Whom it runs for is a word; the order of the functions is none of the request's business.
    let parameters = json!({"name": "c", "addresses": [MATE, CARD], "exclusive": false});
    assert_claimed(&ask(world, User::Alice, parameters), true);
    for parameters in [
        json!({"name": "c", "addresses": [CARD]}),
        json!({"name": "c", "addresses": [CARD, MATE, GPU]}),
        json!({"name": "c", "addresses": [CARD, MATE], "exclusive": true}),
    ] {
        let reply = ask(world, User::Alice, parameters);
        let expected = "io.vfioctl.Container.ContainerExists";
        assert_eq!(reply["error"], expected, "{reply:#}");
        assert_eq!(reply["parameters"]["name"], "c");
    }
    for (user, name) in [(User::Alice, "d"), (User::Bob, "c"), (User::Root, "c")] {
        let reply = end(world, user, name);
        let expected = "io.vfioctl.Container.NoSuchContainer";
        assert_eq!(reply["error"], expected, "{reply:#}");
    }
    assert_same(&world.picture(), &claimed, "afterwards");
    assert_ended(&end(world, User::Alice, "c"));
    assert!(world.state().is_empty());
}

fn released(world: &dyn World) {
    let before = world.picture();
    assert_claimed(&claim(world, User::Alice, "a", &[CARD, GPU]), false);
    assert_claimed(&claim(world, User::Bob, "b", &[CARD]), false);
    assert_claimed(&claim(world, User::Bob, "c", &[MATE]), false);
    let claimed = world.picture();
    for user in [User::Alice, User::Bob] {
        for plan in [&[][..], &["--plan"]] {
            let answer = world.vfioctl(user, &[&["release", CARD], plan].concat());
            answer.fails(1, "InContainer");
            let hint = answer.json["error"]["hint"].as_str().unwrap_or_default();
            let root = format!("'sudo vfioctl release {CARD}'");
            assert!(
                hint.starts_with("end the container") && hint.contains(&root),
                "{answer}"
            );
        }
    }
    let plan = world
        .vfioctl(User::Root, &["release", CARD, "--plan"])
        .done();
    assert_eq!(
        (&plan["members"], &plan["steps"]),
        (&json!([GPU, CARD]), &json!([]))
    );
    assert_same(&world.picture(), &claimed, "after refusals and a plan");
    let released = world.vfioctl(User::Root, &["release", CARD]).done();
    assert_eq!(released["members"], json!([GPU, CARD]), "{released:#}");
    assert_eq!(world.state(), ["claims/container-1002-c.json"]);
    assert_ended(&end(world, User::Bob, "c"));
    assert_same(&world.picture(), &before, "afterwards");
}

fn machine(world: &dyn World) {
    assert_claimed(&claim(world, User::Bob, "c", &[AUDIO]), false);
    let claimed = world.picture();
    for plan in [&[][..], &["--plan"]] {
        let words = ["vm", "create", "m", "--memory", "64", "--kernel", "/k"];
        let words = [&words[..], &["--device", GPU], plan].concat();
        let answer = world.vfioctl(User::Alice, &words);
        answer.fails(1, "InContainer");
        assert!(
            answer.message().contains("container 'c' of user 'bob'"),
            "{answer}"
        );
    }
    assert_same(&world.picture(), &claimed, "afterwards");
}

fn regrouped(world: &dyn World) {
    assert_claimed(&claim(world, User::Alice, "c", &["0000:02:00.1"]), false);
    let claimed = world.picture();
    for user in [User::Alice, User::Bob, User::Root] {
        let words = ["acs", "set", "00:04.1", "-rr", "--regroup"];
        let answer = world.vfioctl(user, &words);
        answer.fails(1, "InContainer");
        assert!(
            answer.message().contains("container 'c' of user 'alice'"),
            "{answer}"
        );
    }
    // What would let another device reach it is somebody else's only to alice.
    let clear = |user, port: &str| world.vfioctl(user, &["acs", "set", port, "-rr,-cr"]);
    clear(User::Alice, "00:04.0").done();
    clear(User::Bob, "00:04.1").fails(1, "WouldJoin");
    world.vfioctl(User::Alice, &["acs", "restore"]).done();
    assert_same(&world.picture(), &claimed, "afterwards");
}

/// Two cards whose ports no longer keep them apart, while the kernel still says so.
fn reduced(world: &dyn World) {
    const SECOND: &str = "0000:02:00.0";
    for port in ["00:04.0", "00:04.1"] {
        world
            .vfioctl(User::Alice, &["acs", "set", port, "-rr,-cr"])
            .done();
    }
    // A container of alice's, and a guest of bob's beside it.
    assert_claimed(&claim(world, User::Alice, "a", &[GPU]), false);
    let refused = world.vfioctl(User::Bob, &["bind", SECOND]);
    refused.fails(1, "IsolationReduced");
    assert!(
        refused.message().contains("container 'a' of user 'alice'"),
        "{refused}"
    );
    // Containers are no strangers to each other: the host's drivers have both cards.
    assert_claimed(&claim(world, User::Bob, "b", &[SECOND]), false);
    assert_ended(&end(world, User::Alice, "a"));
    assert_ended(&end(world, User::Bob, "b"));
    // The other way round.
    world.vfioctl(User::Bob, &["bind", SECOND]).done();
    let reply = claim(world, User::Alice, "a", &[GPU]);
    let message = assert_refused(&reply, "IsolationReduced");
    assert!(message.contains("user 'bob'"), "{message}");
    assert_claimed(&claim(world, User::Bob, "b", &[GPU]), false);
}

fn no_driver(world: &dyn World) {
    let fake = world.fake().unwrap();
    fake.kernel().unbind("bochs-drm", CARD).unwrap();
    let before = fake.listing();
    let message = claim(world, User::Alice, "c", &[MATE, CARD]);
    let message = assert_refused(&message, "NoDriver");
    assert_eq!(
        message,
        format!("{CARD} has no driver: no container can use it")
    );
    assert_same(&fake.listing(), &before, "afterwards");
    // Somebody bound it by hand.
    fake.kernel().set_override(CARD, "vfio-pci").unwrap();
    fake.kernel().bind("vfio-pci", CARD).unwrap();
    let before = fake.listing();
    assert_refused(&claim(world, User::Alice, "c", &[MATE, CARD]), "OnVfio");
    assert_same(&fake.listing(), &before, "afterwards");
}

fn bounded(world: &dyn World) {
    for number in 0..256 {
        let reply = claim(world, User::Alice, &format!("c{number}"), &[CARD]);
        assert_claimed(&reply, false);
    }
    assert_refused(&claim(world, User::Alice, "more", &[CARD]), "TooManyClaims");
    assert_claimed(&claim(world, User::Alice, "c7", &[CARD]), true);
    assert_claimed(&claim(world, User::Bob, "c", &[CARD]), false);
    assert_ended(&end(world, User::Alice, "c7"));
    assert_claimed(&claim(world, User::Alice, "more", &[CARD]), false);
    let list = world.vfioctl(User::Bob, &["list"]).done();
    assert_eq!(list["claims"].as_array().map(Vec::len), Some(257));
}
