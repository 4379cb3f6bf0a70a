//! The life of machines, as far as it needs no system in them.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use vfioctl_api::{LogStream, Order, Phase, Wanted};
use vfioctl_runner::machine::QEMU;
use vfioctl_tests::node::site::Site;

use super::place::{Place, empty_image, machines, script, submission};
use super::proxy::{MACHINE_GROUP, MACHINE_USER, Proxy};

/// A server that runs.
fn running(place: &Place) -> Order {
    let order = place.node.submit(&submission("empty", 128, &[]));
    let runs = |phase: &Phase| matches!(phase, Phase::Running { .. });
    place.wait_for_phase(&order, "it runs", runs);
    order
}

/// The number of the process whose command line has this in it.
fn pid(place: &Place, part: &str) -> String {
    let list = std::process::Command::new("pgrep")
        .args(["--full", "--newest", part])
        .output()
        .unwrap();
    let text = String::from_utf8(list.stdout).unwrap().trim().to_owned();
    assert!(
        !text.is_empty(),
        "no {part} in {:#?}",
        place.site.processes()
    );
    text
}

fn kill(pid: &str) {
    let killed = std::process::Command::new("kill")
        .args(["-9", pid])
        .status();
    assert!(killed.unwrap().success());
}

/// By the path of its disk, which is no other's.
fn qemu_of(place: &Place, order: &Order) -> String {
    pid(place, &format!("guest=vps-{}", order.task))
}

fn relay_of(place: &Place, order: &Order) -> String {
    pid(place, &format!("relay.*{}", order.task))
}

pub(crate) fn killed() {
    let place = Place::with_empty_image();
    let mut order = running(&place);
    let processes = place.site.processes();
    let count = |name: &str| processes.iter().filter(|line| line.contains(name)).count();
    assert_eq!((count("qemu"), count(" relay ")), (1, 1), "{processes:#?}");
    assert!(count("passt") >= 1, "{processes:#?}");
    assert_eq!(place.site.machines().len(), 1);
    place.node.want(&mut order, Wanted::Kill);
    assert_eq!(place.node.wait_until_over(&order), Phase::Killed);
    place.assert_nothing_runs();
    assert!(place.folder(&order).join("disk.qcow2").exists());
    place.start_again(&mut order);
    let runs = |phase: &Phase| matches!(phase, Phase::Running { .. });
    place.wait_for_phase(&order, "it runs again", runs);
    place.remove(&mut order);
}

pub(crate) fn qemu_dies() {
    let place = Place::with_empty_image();
    let mut order = running(&place);
    kill(&qemu_of(&place, &order));
    let over = place.node.wait_until_over(&order);
    assert!(
        matches!(over, Phase::Exited(exit) if exit.status == 1),
        "{over:?}"
    );
    place.assert_nothing_runs();
    let said = place.node.read_log(&order, LogStream::Stderr, 0, true);
    let how = "vfioctl: QEMU ended without a word: it was killed, or it crashed\n";
    assert!(said.ends_with(how), "{said}");
    place.remove(&mut order);
}

pub(crate) fn network_lost() {
    let place = Place::with_empty_image();
    let mut order = running(&place);
    kill(&relay_of(&place, &order));
    place.wait_for_phase(&order, "the network is missed", |phase| {
        matches!(phase, Phase::Running { progress: Some(told), .. } if told.contains("no network"))
    });
    // The machine itself goes on.
    assert_eq!(place.site.machines()[0]["state"], "running");
    place.remove(&mut order);
}

pub(crate) fn runner_killed() {
    let mut place = Place::with_empty_image();
    let mut order = running(&place);
    let before = (qemu_of(&place, &order), relay_of(&place, &order));
    place.node.kill();
    std::thread::sleep(Duration::from_millis(500));
    place.node.restart();
    let runs = |phase: &Phase| matches!(phase, Phase::Running { .. });
    place.wait_for_phase(&order, "it still runs", runs);
    assert_eq!((qemu_of(&place, &order), relay_of(&place, &order)), before);
    // It ends while nobody is there.
    place.node.kill();
    kill(&before.0);
    place.node.restart();
    let over = place.node.wait_until_over(&order);
    assert!(
        matches!(over, Phase::Exited(exit) if exit.status == 1),
        "{over:?}"
    );
    place.remove(&mut order);
}

pub(crate) fn helper_lost() {
    let mut place = Place::with_empty_image();
    let mut order = running(&place);
    place.site.end_helper();
    place
        .node
        .wait_for("all has ended", |_| place.site.processes().is_empty());
    // As long as nobody can tell, it is not said to have ended.
    std::thread::sleep(Duration::from_secs(3));
    let phase = place.node.phase(&order).unwrap();
    assert!(matches!(phase, Phase::Running { .. }), "{phase:?}");
    place.site.start_helper().unwrap();
    let over = place.node.wait_until_over(&order);
    assert!(
        matches!(over, Phase::Exited(exit) if exit.status == 1),
        "{over:?}"
    );
    place.remove(&mut order);
}

pub(crate) fn still_starts() {
    let folder = tempfile::tempdir().unwrap();
    let qemu = folder.path().join("qemu");
    script(&qemu, "exec sleep 1000");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).unwrap();
    let place = Place::with_qemu(&qemu);
    let mut order = place.node.submit(&submission("empty", 128, &[]));
    place.wait_for_phase(&order, "QEMU starts", |phase| {
        matches!(phase, Phase::Starting { progress } if progress.contains("QEMU is starting"))
    });
    let start = Instant::now();
    place.node.want(&mut order, Wanted::Kill);
    assert_eq!(place.node.wait_until_over(&order), Phase::Killed);
    eprintln!(
        "a machine that still starts was ended in {:?}",
        start.elapsed()
    );
    place.assert_nothing_runs();
    place.remove(&mut order);
}

/// QEMU is another user than the runner, who cannot look into its folder and yet finds its disk and
/// its network there.
pub(crate) fn other_user() {
    let folder = tempfile::tempdir().unwrap();
    let image = empty_image(folder.path());
    let site = Site::new(std::path::Path::new(QEMU), &[&image]).unwrap();
    let proxy = Proxy::start(&site);
    let mut setup = machines(&site);
    setup.group = Some(MACHINE_GROUP.0.into());
    setup.helper = Some(proxy.socket());
    let place = Place::at(site, setup, vec![MACHINE_GROUP.1]);
    // A folder of the system's that everybody may pass through; who may see what is behind, its own say.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(place.node.data(), mode).unwrap();
    let mut order = running(&place);
    let qemu = qemu_of(&place, &order);
    assert_eq!(
        std::fs::metadata(format!("/proc/{qemu}")).unwrap().uid(),
        MACHINE_USER
    );
    // It has come to its network: the socket is gone, and the relay is there.
    place.node.wait_for("QEMU comes to its network", |_| {
        !place.folder(&order).join("net.sock").exists()
    });
    relay_of(&place, &order);
    let mode = |name: &str| {
        let found = std::fs::metadata(place.folder(&order).join(name)).unwrap();
        (found.mode() & 0o7777, found.gid())
    };
    assert_eq!(mode(""), (0o2710, MACHINE_GROUP.1));
    assert_eq!(mode("disk.qcow2"), (0o660, MACHINE_GROUP.1));
    assert_eq!(mode("seed.img"), (0o640, MACHINE_GROUP.1));
    assert_eq!(mode("host_key").0, 0o600);
    assert_eq!(mode("machine.json").0, 0o600);
    place.node.want(&mut order, Wanted::Kill);
    assert_eq!(place.node.wait_until_over(&order), Phase::Killed);
    place.remove(&mut order);
}
