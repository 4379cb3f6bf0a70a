//! Machines on a node: the runner's own code, as a user without rights, with the real helper, real QEMU and
//! real passt, on a network of two computers that nothing else is on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on shall end"
)]

mod boot;
mod frames;
mod life;
mod place;
mod proxy;

use libtest_mimic::Trial;
use vfioctl_image::Variant;
use vfioctl_tests::debian::{Guest, base_image};
use vfioctl_tests::node::run_runner_if_asked;
use vfioctl_tests::suite::{self, ignored, trial};
use vfioctl_tests::world::is_root;

/// Tests whose machines need no system in them.
const QUICK: [(&str, fn()); 8] = [
    ("machine_is_killed_and_nothing_of_it_runs", life::killed),
    ("qemu_that_dies_is_told_with_its_words", life::qemu_dies),
    ("network_that_is_lost_is_told", life::network_lost),
    (
        "runner_that_is_killed_finds_its_machine_again",
        life::runner_killed,
    ),
    (
        "helper_that_is_lost_with_its_machines_is_told",
        life::helper_lost,
    ),
    ("machine_that_still_starts_is_ended", life::still_starts),
    ("machine_runs_as_another_user", life::other_user),
    ("guest_cannot_call_its_own_node", frames::guest_calls),
];

/// The test whose machine boots.
const BOOTED: &str = "debian_is_reached_by_ssh_stopped_started_and_removed";

fn main() {
    proxy::run_proxy_if_asked();
    run_runner_if_asked();
    // Asking for the names of tests makes no image.
    let is_list = std::env::args().any(|argument| argument == "--list");
    let possible = match is_root() {
        false => Err("only root can make name spaces of the network".to_owned()),
        true if is_list => Ok(()),
        true => place::expect_possible(),
    };
    let mut trials: Vec<Trial> = Vec::new();
    for (name, test) in QUICK {
        trials.push(match &possible {
            Ok(()) => trial(name, test),
            Err(reason) => ignored(name, reason.clone()),
        });
    }
    trials.push(match &possible {
        Ok(()) => trial(BOOTED, || {
            Guest::expect_possible().unwrap();
            boot::whole_life(&base_image(Variant::Gpu).unwrap());
        }),
        Err(reason) => ignored(BOOTED, reason.clone()),
    });
    suite::run(trials);
}
