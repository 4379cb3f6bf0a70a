//! Containers on a node: the runner's own code as a user without rights, with real engines, a real helper
//! on a machine in a folder, and OpenSSH's client.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

mod bed;
mod gpu;
mod kill;
mod life;
mod ssh;

use std::sync::Arc;

use vfioctl_tests::fake::run_helper_if_asked;
use vfioctl_tests::node::run_runner_if_asked;
use vfioctl_tests::service::{Kind, obstacle};
use vfioctl_tests::suite::{ignored, run, trial};

use bed::{Bed, Test};

fn main() {
    run_helper_if_asked();
    run_runner_if_asked();
    let obstacle = obstacle();
    let mut trials = Vec::new();
    for (kind, word) in [(Kind::Docker, "docker"), (Kind::Podman, "podman")] {
        let bed = Arc::new(Bed::new(kind));
        let groups = [life::TESTS, gpu::TESTS, kill::TESTS, ssh::TESTS];
        for Test(name, run_test) in groups.into_iter().flatten() {
            let name = format!("{word}_{name}");
            let bed = Arc::clone(&bed);
            trials.push(match &obstacle {
                None => trial(name, move || run_test(&bed)),
                Some(reason) => ignored(name, reason),
            });
        }
    }
    run(trials);
}
