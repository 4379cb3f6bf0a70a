//! The base image that is made of packages: made for real, and booted by both firmwares.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on shall end"
)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use libtest_mimic::Trial;
use serde_json::Value;
use vfioctl_image::{ErrorKind, Firmware, Image, Library, Origin, Variant};
use vfioctl_tests::debian::{Guest, GuestFirmware, GuestOptions, base_image};
use vfioctl_tests::schema::assert_shape;
use vfioctl_tests::suite::{self, ignored, trial};

type Test = (&'static str, fn(&Image));

const TESTS: [Test; 3] = [
    ("image_is_listed_with_what_it_is_made_of", listed),
    (
        "machine_boots_by_uefi_with_its_seed_and_its_disk",
        boots_by_uefi,
    ),
    (
        "machine_boots_by_bios_and_heeds_its_power_button",
        boots_by_bios,
    ),
];

fn main() {
    // Asking for the names of tests makes no image.
    let is_list = std::env::args().any(|argument| argument == "--list");
    let image = match is_list {
        true => Err("nothing is run".to_owned()),
        false => Guest::expect_possible().and_then(|()| base_image(Variant::Gpu)),
    };
    let trials: Vec<Trial> = match image {
        Ok(image) => {
            let image = Arc::new(image);
            let each = TESTS.into_iter().map(|(name, test)| {
                let image = Arc::clone(&image);
                trial(name, move || test(&image))
            });
            each.collect()
        }
        Err(reason) => {
            let each = TESTS
                .into_iter()
                .map(|(name, _)| ignored(name, reason.clone()));
            each.collect()
        }
    };
    suite::run(trials);
}

/// What the command answers in JSON.
fn vfioctl(words: &[&str], images: &Path) -> Value {
    let (mut answer, mut conversation) = (Vec::new(), Vec::new());
    let mut arguments: Vec<OsString> = ["vfioctl", "image"].map(OsString::from).to_vec();
    arguments.extend(words.iter().map(OsString::from));
    arguments.extend(["--json".into(), "--images".into(), images.into()]);
    vfioctl_cli::run(arguments, &mut answer, &mut conversation);
    serde_json::from_slice(&answer).unwrap()
}

fn listed(image: &Image) {
    let images = image.path.parent().unwrap();
    let answer = vfioctl(&["list"], images);
    assert_shape("image", &answer);
    let listed = &answer["images"][0];
    assert_eq!(listed["name"], "debian-12-gpu");
    assert_eq!(listed["firmware"], "any");
    assert_eq!(listed["distribution"], "Debian 12");
    assert_eq!(listed["cloud_init"], true);
    assert_eq!(listed["origin"]["kind"], "packages");
    assert_eq!(image.record.firmware, Firmware::Any);
    let Origin::Packages {
        kernel, packages, ..
    } = &image.record.origin
    else {
        panic!("{:?}", image.record.origin)
    };
    assert!(
        kernel.ends_with("-amd64") && !kernel.contains("cloud"),
        "{kernel}"
    );
    assert!((100..400).contains(packages), "{packages} packages");
    // It is small: what a site keeps, and copies.
    assert!(
        image.record.file_bytes < 400 << 20,
        "{} bytes",
        image.record.file_bytes
    );

    let plan = vfioctl(
        &["create", "--from-packages", "--name", "other", "--plan"],
        images,
    );
    assert_shape("image", &plan);
    assert!(
        plan["plan"]["steps"].as_array().unwrap().len() > 3,
        "{plan}"
    );
    let refused = vfioctl(
        &["create", "--from-packages", "--name", "debian-12-gpu"],
        images,
    );
    assert_shape("error", &refused);
    assert_eq!(refused["error"]["name"], "ImageExists");
}

fn boot(image: &Image, name: &'static str, firmware: GuestFirmware) -> Guest {
    let options = GuestOptions {
        name,
        firmware,
        disk: "12GiB".parse().unwrap(),
        nvidia: (firmware == GuestFirmware::Bios).then(|| "535.183.01".parse().unwrap()),
    };
    let guest = Guest::boot(image, &options).unwrap_or_else(|error| panic!("{error}"));
    let by = if guest.is_kvm { "KVM" } else { "TCG" };
    eprintln!(
        "{name}: reached by SSH after {:.1?} ({firmware:?}, {by})",
        guest.boot_time
    );
    guest
}

/// What the seed and the image promise, by whatever it was booted.
fn assert_right(guest: &Guest, name: &str) {
    assert_eq!(
        guest.run("hostname; id -un").done(),
        format!("{name}\nalice\n")
    );
    assert_eq!(guest.run("sudo id -u").done(), "0\n");
    // The disk has three partitions, and the last has grown with its file system.
    let disks = guest
        .run("lsblk --json --bytes --output NAME,SIZE,TYPE,RO,MOUNTPOINTS")
        .done();
    let disks: Value = serde_json::from_str(&disks).unwrap();
    let disk = &disks["blockdevices"][0];
    assert_eq!(disk["size"], 12_u64 << 30, "{disks:#}");
    let parts = disk["children"].as_array().unwrap();
    let sizes: Vec<u64> = parts
        .iter()
        .map(|part| part["size"].as_u64().unwrap() >> 20)
        .collect();
    assert_eq!(sizes[..2], [1, 128], "{disks:#}");
    assert!(sizes[2] > 12_100, "{disks:#}");
    assert_eq!(parts[1]["mountpoints"][0], "/boot/efi", "{disks:#}");
    assert_eq!(parts[2]["mountpoints"][0], "/", "{disks:#}");
    let seed = &disks["blockdevices"][1];
    assert_eq!(
        (&seed["size"], &seed["ro"]),
        (&(1 << 20).into(), &true.into()),
        "{disks:#}"
    );
    let root: u64 = guest
        .run("df --output=size -B 1M / | tail -1")
        .done()
        .trim()
        .parse()
        .unwrap();
    assert!(root > 11_500, "{root} MiB");
}

fn boots_by_uefi(image: &Image) {
    let before = fs::metadata(&image.path).unwrap().modified().unwrap();
    let mut guest = boot(image, "one", GuestFirmware::Uefi);
    assert_right(&guest, "one");
    assert_eq!(guest.run("[ -d /sys/firmware/efi ]").status, 0);

    // Whoever knows another key does not get in.
    let other = guest.folder().join("user.pub");
    let port = fs::read_to_string(guest.folder().join("known_hosts")).unwrap();
    let wrong =
        port.split(' ').next().unwrap().to_owned() + " " + &fs::read_to_string(other).unwrap();
    let place = guest.folder().join("wrong_hosts");
    fs::write(&place, wrong).unwrap();
    assert_eq!(guest.run_knowing(&place, "true").status, 255);

    // It is a machine of its own, with no password and no key but the one that was given.
    assert_eq!(guest.run("ls /etc/ssh | grep -c _key$").done(), "1\n");
    assert_eq!(guest.run("wc -c </etc/machine-id").done(), "33\n");
    let passwords = "sudo awk -F: '$2 !~ /^[!*]/' /etc/shadow";
    assert_eq!(guest.run(passwords).done(), "");
    let done = guest.run("cloud-init status --wait").done();
    assert!(
        done.trim_start_matches('.').contains("status: done"),
        "{done}"
    );
    assert_eq!(
        guest.run("systemctl --failed --no-legend --plain").done(),
        ""
    );

    // A new kernel comes to where the boot loaders look for it.
    let script = "set -e; cd /boot/efi; for name in vmlinuz initrd.img; do
        sudo sh -c \"echo old >$name\"; done
        sudo /etc/initramfs/post-update.d/zz-vfioctl
        sudo cmp vmlinuz /vmlinuz; sudo cmp initrd.img /initrd.img; sudo ls";
    let files = guest.run(&format!("sudo sh -c '{}'", script.replace("sudo ", "")));
    assert_eq!(files.done(), "EFI\ngrub\ninitrd.img\nloader\nvmlinuz\n");

    // As long as its disk is there, so is the image.
    let library = Library::at(image.path.parent().unwrap(), None);
    let refused = library
        .plan_removal(&image.name, guest.folder())
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
    guest.run("sudo systemctl poweroff");
    guest.wait_for_end();
    let disk = fs::metadata(guest.folder().join("disk.qcow2"))
        .unwrap()
        .len();
    assert!(disk < 400 << 20, "{disk} bytes differ from the image");
    assert_eq!(
        fs::metadata(&image.path).unwrap().modified().unwrap(),
        before
    );
}

fn boots_by_bios(image: &Image) {
    let mut guest = boot(image, "two", GuestFirmware::Bios);
    assert_right(&guest, "two");
    assert_eq!(guest.run("[ -d /sys/firmware/efi ]").status, 1);
    // The driver was asked for, and there is no card of NVIDIA: nothing is tried.
    let done = guest.run("cloud-init status --wait").done();
    assert!(done.contains("status: done"), "{done}");
    let log = "until grep -q . /var/log/vfioctl-nvidia.log; do sleep .5; done; \
               cat /var/log/vfioctl-nvidia.log";
    let log = guest.run(&format!("timeout 60 sh -c '{log}'")).done();
    assert!(
        log.ends_with("no card of NVIDIA is here; nothing to do\n"),
        "{log}"
    );
    guest.press_power_button();
    guest.wait_for_end();
}
