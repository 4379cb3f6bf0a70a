//! A cluster as its users have it: a host here, nodes that are labs with a real kernel, real cards that are
//! bound, Docker and Podman, the helper and the runner as systemd starts them; and users without rights.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on shall end"
)]

mod cards;
mod faults;
mod guide;

use std::process::ExitCode;

use vfioctl_tests::cluster::act_if_asked;
use vfioctl_tests::suite;
use vfioctl_tests::world::is_root;

const TESTS: [(&str, fn()); 7] = [
    (
        "every_command_of_the_guide_does_what_it_says",
        guide::every_command,
    ),
    (
        "card_in_a_machine_leaves_the_other_what_it_was",
        cards::other_card_stays_the_same,
    ),
    (
        "card_in_use_is_not_taken_with_its_group",
        cards::card_in_use_is_not_taken_with_its_group,
    ),
    ("two_nodes_take_work", cards::two_nodes_take_work),
    (
        "parts_that_are_killed_come_back_to_what_runs",
        faults::parts_are_killed,
    ),
    (
        "node_that_is_cut_off_goes_on_and_begins_nothing",
        faults::node_is_cut_off,
    ),
    (
        "acs_is_overridden_when_the_runner_starts",
        faults::acs_is_overridden_at_start,
    ),
];

fn main() -> ExitCode {
    if let Some(code) = act_if_asked() {
        return code;
    }
    let trials = TESTS.map(|(name, test)| match is_root() {
        true => suite::trial(name, test),
        false => suite::ignored(name, "only root can become another user"),
    });
    suite::run(trials.into())
}
