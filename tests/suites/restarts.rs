//! Virtual machines that are started again, in the lab.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use serde_json::json;
use vfioctl_tests::guest::{
    GPU, assert_confined, assert_gone, assert_home, create, start, vm, wait_for,
};
use vfioctl_tests::schema::assert_shape;
use vfioctl_tests::suite::{self, trial};
use vfioctl_tests::world::{LabWorld, User, World, assert_same};

fn main() {
    suite::run(vec![
        trial(
            "machine_is_started_again_and_its_card_is_home_in_between",
            || {
                started_again(&LabWorld::start());
            },
        ),
        trial("start_that_qemu_refuses_leaves_it_stopped", || {
            not_started(&LabWorld::start());
        }),
    ]);
}

/// How often the host's driver has taken the card.
fn times_bound(lab: &LabWorld) -> u32 {
    let script = format!("dmesg | grep -c 'Initialized bochs-drm.*{GPU}' || :");
    lab.root(&script).trim().parse().unwrap()
}

fn started_again(lab: &LabWorld) {
    let before = lab.picture();
    let first = start(lab, "wait");
    vm(lab, User::Alice, &["start", "guest"]).fails(1, "Running");
    vm(lab, User::Alice, &["stop", "guest"]).done();
    assert_home(lab);
    let started = vm(lab, User::Alice, &["start", "guest"]).done();
    assert_shape("vm", &started);
    assert_eq!(started["machine"]["state"], "running", "{started:#}");
    assert_eq!(started["machine"]["ended"], json!(null), "{started:#}");
    assert_ne!(started["machine"]["pid"], first);
    wait_for(lab, "WAITING");
    assert_eq!(lab.driver(GPU).as_deref(), Some("vfio-pci"));
    // It is the same machine to a helper that comes later.
    lab.kill_helper();
    lab.start_helper();
    let bound = times_bound(lab);
    let restarted = vm(lab, User::Alice, &["restart", "guest"]).done();
    assert_ne!(restarted["machine"]["pid"], started["machine"]["pid"]);
    assert_eq!(times_bound(lab), bound + 1, "the card was home in between");
    wait_for(lab, "WAITING");
    let pid = restarted["machine"]["pid"].as_u64().unwrap();
    assert_confined(lab, u32::try_from(pid).unwrap());
    vm(lab, User::Alice, &["restart", "guest", "--force"]).done();
    wait_for(lab, "WAITING");
    let stopped = vm(lab, User::Alice, &["stop", "guest"]).done();
    assert_eq!(stopped["machine"]["ended"], "the guest powered off");
    assert_home(lab);
    assert_gone(lab, &before);
}

fn not_started(lab: &LabWorld) {
    let before = lab.picture();
    lab.root("truncate -s 1M /tmp/disk.raw; chown alice /tmp/disk.raw");
    create(lab, "wait", &["--disk", "/tmp/disk.raw"]).done();
    wait_for(lab, "WAITING");
    vm(lab, User::Alice, &["stop", "guest"]).done();
    let stopped = lab.picture();
    lab.root("mv /tmp/disk.raw /tmp/away.raw");
    let answer = vm(lab, User::Alice, &["start", "guest"]);
    answer.fails(2, "Failed");
    assert!(answer.message().contains("/tmp/disk.raw"), "{answer}");
    assert_same(&lab.picture(), &stopped, "after a start that failed");
    let machine = vm(lab, User::Alice, &["show", "guest"]).done();
    let ended = machine["machine"]["ended"].as_str().unwrap();
    assert!(ended.starts_with("it did not start again: "), "{machine:#}");
    assert!(ended.contains("/tmp/disk.raw"), "{machine:#}");
    assert_home(lab);
    lab.root("mv /tmp/away.raw /tmp/disk.raw");
    vm(lab, User::Alice, &["start", "guest"]).done();
    wait_for(lab, "WAITING");
    vm(lab, User::Alice, &["stop", "guest"]).done();
    assert_gone(lab, &before);
}
