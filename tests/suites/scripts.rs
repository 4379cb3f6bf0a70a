//! The scripts of the guide, and taking everything away again, in the lab.

use vfioctl_tests::suite::{self, trial};
use vfioctl_tests::world::{LabWorld, User, World, assert_same};

const GPU: &str = "0000:01:00.0";

/// Where the lab has the sources that it installed from.
const SOURCES: &str = "cd /opt/vfioctl/sources && scripts";

fn main() {
    suite::run(vec![
        trial("test_vfio_bind_takes_a_card_there_and_back", there_and_back),
        trial("uninstall_refuses_while_a_device_is_away", uninstall),
    ]);
}

fn there_and_back() {
    let lab = LabWorld::start();
    let before = lab.picture();
    let done = lab.run_as(
        User::Alice,
        &format!("{SOURCES}/test-vfio-bind.sh {GPU} --yes"),
    );
    assert_eq!(done.rc, 0, "{}", done.text);
    assert!(done.text.contains("PASS: 0000:01:00.0"), "{}", done.text);
    assert_same(&lab.picture(), &before, "after the script");
    let bridge = lab.run_as(
        User::Alice,
        &format!("{SOURCES}/test-vfio-bind.sh 00:04.0 --yes"),
    );
    assert_eq!(bridge.rc, 1, "{}", bridge.text);
    let recovered = lab.run_as(User::Alice, &format!("{SOURCES}/recover-vfio.sh --yes"));
    assert_eq!(recovered.rc, 0, "{}", recovered.text);
    assert!(
        recovered.text.contains("nothing left behind"),
        "{}",
        recovered.text
    );
}

fn uninstall() {
    let lab = LabWorld::start();
    lab.vfioctl(User::Alice, &["bind", GPU]).done();
    let refused = lab.try_root(&format!("{SOURCES}/uninstall"));
    assert_ne!(refused.rc, 0, "{}", refused.text);
    lab.vfioctl(User::Alice, &["release", GPU]).done();
    lab.root(&format!("{SOURCES}/uninstall"));
    let left = lab.root("find /usr -name '*vfioctl*' | grep -v /usr/share/doc || :");
    assert_eq!(left, "");
}
