//! A cluster as its users have it: a host here, nodes that are labs with a real kernel, real cards that are
//! bound, Docker and Podman, the helper and the runner as systemd starts them; and a user without rights.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on shall end"
)]

mod cards;

use std::process::ExitCode;

use vfioctl_tests::cluster::act_if_asked;
use vfioctl_tests::suite;
use vfioctl_tests::world::is_root;

fn main() -> ExitCode {
    if let Some(code) = act_if_asked() {
        return code;
    }
    let tests: [(&str, fn()); 1] = [("explore", cards::explore)];
    let trials = tests.map(|(name, test)| match is_root() {
        true => suite::trial(name, test),
        false => suite::ignored(name, "only root can become another user"),
    });
    suite::run(trials.into())
}
