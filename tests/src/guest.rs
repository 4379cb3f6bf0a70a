//! The machine that tests start in the lab: the lab's own guest, with a graphics card.
//!
//! Everything here ends the test where it is not as it should be.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::GUEST;
use crate::world::{Answer, LabWorld, Picture, User, World, assert_same};

/// The first graphics card: its display function.
pub const GPU: &str = "0000:01:00.0";
/// Its audio function.
pub const AUDIO: &str = "0000:01:00.1";

/// Runs `vfioctl vm`.
pub fn vm(lab: &LabWorld, user: User, arguments: &[&str]) -> Answer {
    lab.vfioctl(user, &[&["vm"], arguments].concat())
}

/// `vm create` of a guest with a card, and with this on its kernel command line.
pub fn create(lab: &LabWorld, append: &str, more: &[&str]) -> Answer {
    let arguments = [
        "create", "guest", "--memory", "128", "--kernel", GUEST, "--append", append,
    ];
    vm(
        lab,
        User::Alice,
        &[&arguments[..], &["--device", GPU], more].concat(),
    )
}

/// Creates a machine whose guest waits, and waits for the guest; tells QEMU's process.
pub fn start(lab: &LabWorld, append: &str) -> u32 {
    let created = create(lab, append, &[]).done();
    wait_for(lab, "WAITING");
    assert_eq!(created["machine"]["state"], "running", "{created:#}");
    u32::try_from(created["machine"]["pid"].as_u64().unwrap()).unwrap()
}

/// What the guest wrote to its console.
pub fn console(lab: &LabWorld) -> String {
    lab.run_as(User::Alice, "vfioctl vm logs guest 2>&1").text
}

/// Waits until the guest has written this.
#[track_caller]
pub fn wait_for(lab: &LabWorld, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !console(lab).contains(text) {
        assert!(Instant::now() < deadline, "no {text} in:\n{}", console(lab));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until the machine has stopped; tells what `vm show` says of it.
#[track_caller]
pub fn wait_for_end(lab: &LabWorld) -> Value {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let shown = vm(lab, User::Alice, &["show", "guest"]).done();
        if shown["machine"]["state"] == "stopped" {
            return shown["machine"].clone();
        }
        assert!(Instant::now() < deadline, "{shown:#}\n{}", console(lab));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Removes the stopped machine, and makes sure that nothing is left of it.
#[track_caller]
pub fn assert_gone(lab: &LabWorld, before: &Picture) {
    vm(lab, User::Alice, &["rm", "guest"]).done();
    assert_same(&lab.picture(), before, "after vm rm");
    let left = lab.root("find /run/vfioctl/machines -name guest; systemctl list-units --all --plain --no-legend 'vfioctl-machine*' 'vfioctl-vm*'");
    assert_eq!(left, "");
}

/// Makes sure that QEMU has nothing but what its user has, and one VFIO group.
pub fn assert_confined(lab: &LabWorld, pid: u32) {
    let status = lab.root(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(field("Uid"), "1001 1001 1001 1001");
    assert_eq!(field("Gid"), "1001 1001 1001 1001");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    let group = lab.group(GPU);
    let open = lab.root(&format!(
        "find /proc/{pid}/fd -lname '/dev/*' -printf '%l\\n' | sort -u"
    ));
    let allowed = ["/dev/null", "/dev/vfio/vfio", "/dev/kvm", "/dev/urandom"];
    let devices: Vec<&str> = open
        .lines()
        .filter(|node| !allowed.contains(node))
        .collect();
    assert_eq!(devices, [format!("/dev/vfio/{group}")], "{open}");
    // Neither the helper's socket nor its state.
    let files = lab.root(&format!(
        "find /proc/{pid}/fd -lname '/var/lib/vfioctl*' -o -lname '/run/vfioctl/helper*'"
    ));
    assert_eq!(files, "");
    let listening = lab.root("cat /proc/net/unix");
    let inode = listening
        .lines()
        .find(|line| line.ends_with("/run/vfioctl/helper.sock"))
        .and_then(|line| line.split_whitespace().nth(6))
        .unwrap();
    let inherited = lab.root(&format!("find /proc/{pid}/fd -lname 'socket:?{inode}?'"));
    assert_eq!(inherited, "", "QEMU has the helper's socket");
}

/// Drivers as before, nothing claimed, nothing in the journal.
#[track_caller]
pub fn assert_home(lab: &LabWorld) {
    let state: Vec<String> = lab.state();
    let left = state.iter().find(|file| !file.starts_with("machines/"));
    assert_eq!(left, None);
    assert_eq!(lab.driver(GPU).as_deref(), Some("bochs-drm"));
    assert_eq!(lab.driver(AUDIO).as_deref(), Some("snd_hda_intel"));
    assert_eq!(lab.driver_override(GPU), "(null)");
}

/// Kills QEMU, and polls in the lab itself, whose clock is the one that counts; without a fork in
/// the loop.
pub fn kill_and_time(lab: &LabWorld, pid: u32) -> Duration {
    let text = lab.root(&format!(
        "start=$EPOCHREALTIME; kill -9 {pid}
        cd /sys/bus/pci/devices
        until [ {GPU}/driver -ef ../drivers/bochs-drm ] &&
            [ {AUDIO}/driver -ef ../drivers/snd_hda_intel ] &&
            [ ! -e /var/lib/vfioctl/claims/{GPU}.json ] &&
            [ ! -e /var/lib/vfioctl/journal/{GPU}.json ] ||
            [ $((${{EPOCHREALTIME/./}} - ${{start/./}})) -gt 20000000 ]; do :; done
        echo $((${{EPOCHREALTIME/./}} - ${{start/./}}))"
    ));
    Duration::from_micros(text.trim().parse().unwrap())
}
