//! Drivers that do not let go, and cards of every vendor, in the lab.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use std::time::{Duration, Instant};

use serde_json::Value;
use vfioctl_tests::lab::{EDU, Profile};
use vfioctl_tests::suite::{self, trial};
use vfioctl_tests::world::{LabWorld, User, World, assert_same};

const GPU: &str = "0000:01:00.0";

fn main() {
    suite::run(vec![
        trial("driver_that_hangs_does_not_stop_the_helper", hanging_driver),
        trial("holder_of_a_card_is_named_before_anything_is_done", holder),
        trial("cards_of_every_vendor_are_listed_by_name", vendors),
    ]);
}

/// The promise that no other tool makes: an unbind that hangs in the kernel holds neither the
/// helper nor anybody else, and what it left comes home once the driver has let go.
fn hanging_driver() {
    let lab = LabWorld::start();
    lab.root(&format!(
        "modprobe hangdrv ids=1234:11e8; echo {EDU} >/sys/bus/pci/drivers/hangdrv/bind || :"
    ));
    assert_eq!(lab.driver(EDU).as_deref(), Some("hangdrv"));
    // Reading a driver_override blocks while the device is locked, so drivers alone are compared.
    let before = drivers(&lab);
    // The driver's remove waits for as long as somebody has its node open.
    lab.root(&format!(
        "(exec 9</dev/fakegpu-{EDU}; exec sleep 600) </dev/null >/dev/null 2>&1 &
        echo $! >/run/holder"
    ));
    std::thread::scope(|scope| {
        let bind = scope.spawn(|| lab.vfioctl(User::Alice, &["bind", EDU]));
        wait_until("the unbind hangs", || !drivers(&lab).contains(EDU));
        lab.vfioctl(User::Bob, &["bind", GPU]).done();
        lab.vfioctl(User::Bob, &["release", GPU]).done();
        let failed = bind.join().unwrap();
        failed.fails(2, "Failed");
        assert!(failed.message().contains("not everything"), "{failed}");
    });
    // Nobody writes to the device while the first write hangs.
    let left = lab.vfioctl(User::Alice, &["recover"]);
    assert_eq!(left.json["recovered"][0]["home"], false, "{left}");
    lab.root("kill $(cat /run/holder)");
    wait_until("it is home", || {
        let recovered = lab.vfioctl(User::Alice, &["recover"]);
        recovered.json["recovered"]
            .as_array()
            .is_some_and(Vec::is_empty)
    });
    assert_eq!(drivers(&lab), before, "after the driver has let go");
    assert_eq!(lab.driver_override(EDU), "(null)");
    assert!(lab.state().is_empty());
}

/// Every function with its driver.
fn drivers(lab: &LabWorld) -> String {
    lab.root("find -H /sys/bus/pci/devices/* -maxdepth 1 -name driver -printf '%h %l\\n'")
}

fn holder() {
    let lab = LabWorld::start();
    let before = lab.picture();
    lab.root(&format!(
        "card=$(ls -d /sys/bus/pci/devices/{GPU}/drm/card*)
        (exec -a viewer sleep 600) <>/dev/dri/${{card##*/}} >/dev/null 2>&1 &"
    ));
    let refused = lab.vfioctl(User::Alice, &["bind", GPU]);
    refused.fails(1, "InUse");
    assert!(refused.message().contains("sleep"), "{refused}");
    assert_same(&lab.picture(), &before, "after a refusal");
}

fn vendors() {
    let lab = LabWorld::start_as(Profile::Vendor);
    let listed = lab.vfioctl(User::Alice, &["list"]).done();
    let text = listed.to_string();
    for card in ["10de", "1002", "8086"] {
        assert!(text.contains(card), "no vendor {card} in {listed:#}");
    }
    for name in ["GeForce RTX 4090", "H100", "Radeon", "Arc"] {
        assert!(text.contains(name), "no {name} in {listed:#}");
    }
    lab.vfioctl(User::Alice, &["bind", GPU]).done();
    let shown = lab.vfioctl(User::Alice, &["show", GPU]).done();
    assert!(is_driven_by(&shown, "vfio-pci"), "{shown:#}");
    lab.vfioctl(User::Alice, &["release", GPU]).done();
}

fn is_driven_by(shown: &Value, driver: &str) -> bool {
    shown
        .to_string()
        .contains(&format!("\"driver\":\"{driver}\""))
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(300));
    }
}
