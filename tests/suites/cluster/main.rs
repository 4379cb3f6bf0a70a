//! A cluster as its users have it: a host here, nodes that are labs with a real kernel, real cards that are
//! bound, Docker and Podman, the helper and the runner as systemd starts them; and users without rights.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on shall end"
)]

mod cards;
mod faults;
mod guide;

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use vfioctl_tests::cluster::act_if_asked;
use vfioctl_tests::suite;
use vfioctl_tests::world::is_root;

/// The one that needs etcd.
const IN_ETCD: &str = "cluster_in_etcd_outlives_its_end";

/// Each with the labs that it has.
const TESTS: [(&str, usize, fn()); 8] = [
    (
        "every_command_of_the_guide_does_what_it_says",
        3,
        guide::every_command,
    ),
    (
        "card_in_a_machine_leaves_the_other_what_it_was",
        1,
        cards::other_card_stays_the_same,
    ),
    (
        "card_in_use_is_not_taken_with_its_group",
        1,
        cards::card_in_use_is_not_taken_with_its_group,
    ),
    ("two_nodes_take_work", 2, cards::two_nodes_take_work),
    (
        "parts_that_are_killed_come_back_to_what_runs",
        1,
        faults::parts_are_killed,
    ),
    (
        "node_that_is_cut_off_goes_on_and_begins_nothing",
        1,
        faults::node_is_cut_off,
    ),
    (IN_ETCD, 1, faults::etcd_is_killed),
    (
        "acs_is_overridden_when_the_runner_starts",
        1,
        faults::acs_is_overridden_at_start,
    ),
];

fn main() -> ExitCode {
    if let Some(code) = act_if_asked() {
        return code;
    }
    let trials = TESTS.map(|(name, labs, test)| match obstacle(name) {
        None => suite::trial(name, move || alone_with(labs, test)),
        Some(reason) => suite::ignored(name, reason),
    });
    suite::run(trials.into())
}

/// Why a test cannot run here.
fn obstacle(name: &str) -> Option<&'static str> {
    if !is_root() {
        Some("only root can become another user")
    } else if name == IN_ETCD && !vfioctl_host::HAS_ETCD {
        Some("this was built without etcd: --features vfioctl-host/etcd")
    } else {
        None
    }
}

/// Two labs side by side are as many as two processors emulate without a runner that is not heard of in
/// time: a test that has more than one has nobody beside it.
fn alone_with(labs: usize, test: fn()) {
    static LABS: RwLock<()> = RwLock::new(());
    if labs > 1 {
        let _alone = LABS.write().unwrap_or_else(PoisonError::into_inner);
        test();
    } else {
        let _beside = LABS.read().unwrap_or_else(PoisonError::into_inner);
        test();
    }
}
