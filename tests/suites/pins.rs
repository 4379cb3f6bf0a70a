//! Devices that stay bound, in the lab: over reboots, and when they are unplugged and come back.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use std::time::{Duration, Instant};

use serde_json::json;
use vfioctl_tests::lab::{BootFile, BootOptions, GUEST, Kernel, Profile};
use vfioctl_tests::suite::{self, trial};
use vfioctl_tests::world::{LabWorld, User, World, assert_same};

const GPU: &str = "0000:01:00.0";
const AUDIO: &str = "0000:01:00.1";
/// The same card once more.
const TWIN: &str = "0000:02:00.0";

fn main() {
    suite::run(vec![
        trial("pin_survives_a_reboot_6_1", || reboot(Kernel::V6_1)),
        trial("pin_survives_a_reboot_6_12", || reboot(Kernel::V6_12)),
        trial("pinned_card_that_the_initramfs_took_is_bound", initramfs),
        trial("pin_is_kept_without_the_early_unit", rule_alone),
        trial("another_card_at_a_pinned_address_is_left_alone", exchanged),
        trial("hot_unplug_ends_a_claim_and_a_pin_brings_it_back", hot_plug),
        trial("machine_borrows_a_pinned_card", machine),
        trial("device_added_to_a_port_is_taken_by_its_pin", hot_add),
    ]);
}

/// The claim and the pin of a card, made by the product in a machine of before.
fn pinned_before() -> Vec<BootFile> {
    let lab = LabWorld::start();
    lab.vfioctl(User::Alice, &["bind", "--persist", GPU]).done();
    let files = lab.kept_files();
    assert!(files.len() >= 3, "{files:?}");
    files
}

/// Lets the kernel tell of each probe of bochs-drm and vfio-pci from the first one on.
fn boot_options(files: Vec<BootFile>, kernel: Option<Kernel>) -> BootOptions {
    BootOptions {
        kernel,
        files,
        ..BootOptions::default()
    }
}

fn is_held(lab: &LabWorld) {
    for address in [GPU, AUDIO] {
        assert_eq!(
            lab.driver(address).as_deref(),
            Some("vfio-pci"),
            "{address}"
        );
    }
    let node = lab.node(&lab.group(GPU));
    assert_eq!(node.as_deref(), Some("1001 600"));
    let list = lab.vfioctl(User::Alice, &["list"]).done();
    let claim = &list["claims"][0];
    assert_eq!(claim["owner"]["user"], "alice", "{list:#}");
    assert_eq!(claim["addresses"], json!([GPU, AUDIO]), "{list:#}");
    assert_eq!(list["pins"][0]["problem"], json!(null), "{list:#}");
}

/// What the kernel has said of a driver and a device.
fn kernel_says(lab: &LabWorld, driver: &str, address: &str) -> String {
    lab.root(&format!("dmesg | grep '{driver} {address}' || :"))
}

fn reboot(kernel: Kernel) {
    let options = boot_options(pinned_before(), Some(kernel));
    let lab = LabWorld::boot(&options);
    let version = lab.root("uname -r");
    is_held(&lab);
    // Its twin got the driver that it never had.
    assert_eq!(kernel_says(&lab, "bochs-drm", GPU), "", "on {version}");
    assert_ne!(kernel_says(&lab, "bochs-drm", TWIN), "", "on {version}");
    assert_eq!(lab.driver(TWIN).as_deref(), Some("bochs-drm"));
    let units = lab.root("systemctl is-active vfioctl-pin.service vfioctl-recover.service");
    assert_eq!(units, "active\nactive\n");
    let noise = lab.root("systemctl --no-legend --plain list-units --failed 'vfioctl*'");
    assert_eq!(noise, "");
    let released = lab.vfioctl(User::Alice, &["release", GPU]).done();
    assert_eq!(released["unpinned"], json!([GPU, AUDIO]), "{released:#}");
    assert_eq!(lab.driver(GPU).as_deref(), Some("bochs-drm"));
    assert_eq!(lab.driver(AUDIO).as_deref(), Some("snd_hda_intel"));
    assert_eq!((lab.pins(), lab.state()), (Vec::new(), Vec::new()));
}

/// The driver was there before anything of ours could run.
fn initramfs() {
    let mut options = boot_options(pinned_before(), None);
    options.hook = Some(
        "mount -t proc proc /new/proc && mount -t sysfs sysfs /new/sys
        chroot /new /sbin/modprobe bochs
        umount /new/proc /new/sys\n"
            .into(),
    );
    let lab = LabWorld::boot(&options);
    assert_ne!(kernel_says(&lab, "bochs-drm", GPU), "");
    is_held(&lab);
    lab.vfioctl(User::Alice, &["release", GPU]).done();
    assert_eq!(lab.driver(GPU).as_deref(), Some("bochs-drm"));
}

/// The rule, and recovery where the rule was late.
fn rule_alone() {
    let mut options = boot_options(pinned_before(), None);
    options.hook = Some("ln -s /dev/null /new/etc/systemd/system/vfioctl-pin.service\n".into());
    let lab = LabWorld::boot(&options);
    let unit = lab.root("systemctl is-active vfioctl-pin.service || :");
    assert_eq!(unit, "inactive\n");
    is_held(&lab);
    let probes = kernel_says(&lab, "bochs-drm", GPU);
    eprintln!(
        "rule_alone: bochs-drm touched it {} times",
        probes.lines().count()
    );
}

/// As if the card had been exchanged for one of another maker while the power was off.
fn exchanged() {
    let options = boot_options(pinned_before(), None);
    let lab = LabWorld::boot_as(Profile::Vendor, &options);
    let failed = lab.root("systemctl is-active vfioctl-recover.service || :");
    assert_eq!(failed, "failed\n");
    assert_ne!(lab.driver(GPU).as_deref(), Some("vfio-pci"));
    assert_ne!(lab.driver(AUDIO).as_deref(), Some("vfio-pci"));
    assert_eq!(lab.driver_override(GPU), "(null)");
    assert!(lab.state().is_empty(), "{:?}", lab.state());
    let list = lab.vfioctl(User::Bob, &["list"]).done();
    let problem = list["pins"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("is now 10de:"), "{list:#}");
    let journal = lab.root("journalctl --no-pager -u vfioctl-helper -u vfioctl-pin");
    assert!(journal.contains(problem), "{journal}");
    let refused = lab.vfioctl(User::Bob, &["bind", "--persist", GPU]);
    refused.fails(1, "Pinned");
    lab.vfioctl(User::Alice, &["release", GPU]).done();
    assert!(lab.pins().is_empty());
}

fn remove(lab: &LabWorld, addresses: &[&str]) {
    for address in addresses {
        lab.root(&format!("echo 1 >/sys/bus/pci/devices/{address}/remove"));
    }
}

fn rescan(lab: &LabWorld) {
    lab.root("echo 1 >/sys/bus/pci/rescan");
}

fn hot_plug() {
    let lab = LabWorld::start();
    let before = lab.picture();
    // What is not pinned is let go of, and comes back as any device does.
    lab.vfioctl(User::Alice, &["bind", GPU]).done();
    remove(&lab, &[GPU, AUDIO]);
    wait_until(&lab, "the claim ends", || lab.state().is_empty());
    rescan(&lab);
    lab.root("udevadm settle");
    assert_eq!(lab.driver(GPU).as_deref(), Some("bochs-drm"));
    // What is pinned is bound again, with its native driver loaded and in the race.
    lab.vfioctl(User::Alice, &["bind", "--persist", GPU]).done();
    for round in 0..3 {
        remove(&lab, &[AUDIO, GPU]);
        wait_until(&lab, "the claim ends, and the pin says why", || {
            let list = lab.vfioctl(User::Bob, &["list"]).done();
            let problem = &list["pins"][0]["problem"];
            lab.state().is_empty() && *problem == format!("{GPU} is not there")
        });
        rescan(&lab);
        let start = Instant::now();
        wait_until(&lab, "the pin is kept", || {
            !lab.state().is_empty() && lab.driver(AUDIO).as_deref() == Some("vfio-pci")
        });
        eprintln!(
            "hot_plug: round {round}: bound again after {:?}",
            start.elapsed()
        );
        lab.root("udevadm settle");
        is_held(&lab);
    }
    // Others may come and go.
    let held = lab.picture();
    remove(&lab, &["0000:09:00.0"]);
    rescan(&lab);
    lab.root("udevadm settle");
    is_held(&lab);
    let now = lab.picture();
    assert_eq!(
        now.get(&format!("driver {GPU}")),
        held.get(&format!("driver {GPU}"))
    );
    lab.vfioctl(User::Alice, &["release", GPU]).done();
    assert!(lab.pins().is_empty());
    let drivers = |picture: &vfioctl_tests::world::Picture| {
        let is_driver = |(key, _): &(&String, &String)| key.starts_with("driver ");
        picture
            .iter()
            .filter(is_driver)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    assert_same(&drivers(&lab.picture()), &drivers(&before), "afterwards");
    let noise = lab.root("systemctl --no-legend --plain list-units --failed 'vfioctl*'");
    assert_eq!(noise, "");
}

/// At its end the card is its user's, as before, and has never left vfio-pci.
fn machine() {
    let lab = LabWorld::start();
    lab.vfioctl(User::Alice, &["bind", "--persist", GPU]).done();
    let words = ["vm", "create", "one", "--memory", "64", "--kernel", GUEST];
    let words = [&words[..], &["--append", "wait", "--device", GPU]].concat();
    lab.vfioctl(User::Alice, &words).done();
    lab.vfioctl(User::Alice, &["hotplug"]).done();
    let list = lab.vfioctl(User::Alice, &["list"]).done();
    assert_eq!(list["claims"][0]["owner"]["machine"], "one", "{list:#}");
    lab.vfioctl(User::Alice, &["release", GPU])
        .fails(1, "InMachine");
    lab.vfioctl(User::Alice, &["vm", "stop", "one"]).done();
    is_held(&lab);
    let probes = kernel_says(&lab, "bochs-drm", GPU);
    assert_eq!(probes.lines().count(), 1, "once, at boot: {probes}");
    lab.vfioctl(User::Alice, &["release", GPU]).done();
    assert_eq!(lab.driver(GPU).as_deref(), Some("bochs-drm"));
}

/// By the machine's own hot-plug, as a card in a slot or a cable to an enclosure. A network card,
/// since the window of an empty port is too small for a display.
fn hot_add() {
    const ADDED: &str = "0000:0a:00.0";
    let lab = LabWorld::start();
    let plug = || {
        let device = json!({"driver": "e1000e", "bus": "rp6", "id": "late"});
        lab.machine().qmp("device_add", device).unwrap();
    };
    plug();
    wait_until(&lab, "it is there", || {
        lab.driver(ADDED).as_deref() == Some("e1000e")
    });
    lab.vfioctl(User::Bob, &["bind", "--persist", ADDED]).done();
    lab.machine()
        .qmp("device_del", json!({"id": "late"}))
        .unwrap();
    wait_until(&lab, "its claim ends", || lab.state().is_empty());
    plug();
    wait_until(&lab, "it is bound again", || {
        !lab.state().is_empty() && lab.driver(ADDED).as_deref() == Some("vfio-pci")
    });
    let node = lab.node(&lab.group(ADDED));
    assert_eq!(node.as_deref(), Some("1002 600"));
}

#[track_caller]
fn wait_until(lab: &LabWorld, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        let is_late = Instant::now() > deadline;
        if is_late {
            eprintln!("{}", lab.root("journalctl --no-pager -n 40"));
        }
        assert!(!is_late, "never: {what}");
        std::thread::sleep(Duration::from_millis(300));
    }
}
