//! Answers in JSON against their schemas.

use super::{Case, GPU, both, lab_only};
use crate::schema::assert_shape;
use crate::world::{User, World};

pub(super) const CASES: &[Case] = &[
    both("answers_have_the_shape_of_their_schemas", answers),
    lab_only(
        "check_has_the_shape_of_its_schema",
        "it looks at the machine that it runs on",
        check,
    ),
];

fn answers(world: &dyn World) {
    let run = |arguments: &[&str]| world.vfioctl(User::Alice, arguments).done();
    for (name, arguments) in [
        ("list", &["list"][..]),
        ("list", &["list", "--all"]),
        ("groups", &["groups"]),
        ("groups", &["groups", "--tree"]),
        ("show", &["show", GPU]),
        ("show", &["show", "0000:00:04.0"]),
        ("bind", &["bind", GPU, "--plan"]),
        ("bind", &["bind", GPU]),
        ("list", &["list"]),
        ("release", &["release", GPU, "--plan"]),
        ("release", &["release", GPU]),
        ("recover", &["recover"]),
        ("vm", &["vm", "list"]),
    ] {
        assert_shape(name, &run(arguments));
    }
    let refused = world.vfioctl(User::Alice, &["bind", "0000:00:04.0"]);
    assert_shape("error", &refused.json);
}

fn check(world: &dyn World) {
    let answer = world.vfioctl(User::Alice, &["check"]);
    assert!([0, 1].contains(&answer.status), "{answer}");
    assert_shape("check", &answer.json);
}
