//! A site with a node whose runner has machines on it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use vfioctl_api::{Order, Phase, SshAccess, Submission, Wanted};
use vfioctl_image::{Firmware, Image, Import, Library};
use vfioctl_runner::machine::{PASST, QEMU};
use vfioctl_tests::debian::need_packages;
use vfioctl_tests::node::site::{HELPER_GROUP, NODE, Site};
use vfioctl_tests::node::{MachineSetup, Node, Setup};
use vfioctl_tests::world::program;

/// What machines on a node need here.
const PACKAGES: [&str; 5] = [
    "iproute2",
    "openssh-client",
    "passt",
    "qemu-system-x86",
    "qemu-utils",
];
/// How long a machine may take to be reached: without KVM, on a busy computer, minutes.
pub(crate) const BOOT: Duration = Duration::from_secs(420);

/// Makes sure that there can be machines here.
pub(crate) fn expect_possible() -> Result<(), String> {
    need_packages(&PACKAGES)
}

/// A site, and a node on it.
pub(crate) struct Place {
    pub(crate) node: Node,
    pub(crate) site: Site,
}

impl Place {
    /// With an image that nothing boots of.
    pub(crate) fn with_empty_image() -> Self {
        Self::with_qemu(Path::new(QEMU))
    }

    /// The same, with another program for QEMU.
    pub(crate) fn with_qemu(qemu: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = empty_image(folder.path());
        let site = Site::new(qemu, &[&image]).unwrap();
        let setup = MachineSetup { ..machines(&site) };
        Self::at(site, setup, Vec::new())
    }

    /// A node on a site.
    pub(crate) fn at(site: Site, machines: MachineSetup, groups: Vec<u32>) -> Self {
        let node = Node::start(&Setup {
            engine: site.folder().join("none.sock"),
            helper: site.socket(),
            machines: Some(machines),
            network: Some(site.network()),
            groups: [vec![HELPER_GROUP.1], groups].concat(),
            ..Setup::default()
        });
        Self { node, site }
    }

    /// Waits until a run has come so far.
    #[track_caller]
    pub(crate) fn wait_for_phase(&self, order: &Order, what: &str, is_it: impl Fn(&Phase) -> bool) {
        let deadline = Instant::now() + BOOT;
        loop {
            let phase = self.node.phase(order);
            if phase.as_ref().is_some_and(&is_it) {
                return;
            }
            let is_over = phase.as_ref().is_some_and(Phase::is_over);
            assert!(
                !is_over && Instant::now() < deadline,
                "in vain: {what}: {phase:?}\n--- helper\n{}\n--- console\n{}",
                self.site.helper_log(),
                self.console(order)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of what a machine that runs has written to its console.
    fn console(&self, order: &Order) -> String {
        let folder = self.site.folder().join("run/machines");
        let name = format!("vps-{}/io/console.log", order.task);
        let users = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let logs = users.map(|user| std::fs::read(user.path().join(&name)).unwrap_or_default());
        let text = String::from_utf8_lossy(&logs.collect::<Vec<_>>().concat()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits until a run is reached by SSH; tells how.
    #[track_caller]
    pub(crate) fn wait_for_ssh(&self, order: &Order) -> SshAccess {
        let is_reached = |phase: &Phase| matches!(phase, Phase::Running { ssh: Some(_), .. });
        self.wait_for_phase(order, "it is reached by SSH", is_reached);
        match self.node.phase(order) {
            Some(Phase::Running {
                ssh: Some(access), ..
            }) => access,
            other => panic!("{other:?}"),
        }
    }

    /// Wants the next run of a server that has stopped.
    pub(crate) fn start_again(&self, order: &mut Order) {
        order.run += 1;
        order.wanted = Wanted::Run;
        self.node.order(order);
    }

    /// The folder of a task's machine.
    pub(crate) fn folder(&self, order: &Order) -> PathBuf {
        self.node.data().join("machines").join(order.task.as_str())
    }

    /// Makes sure that no machine and no network runs, and that the helper knows of none.
    #[track_caller]
    pub(crate) fn assert_nothing_runs(&self) {
        self.node
            .wait_for("processes end", |_| self.site.processes().is_empty());
        assert_eq!(self.site.machines(), Vec::<serde_json::Value>::new());
    }

    /// Removes a task, and makes sure that nothing of it is left.
    #[track_caller]
    pub(crate) fn remove(&self, order: &mut Order) {
        self.node.remove(order);
        self.assert_nothing_runs();
        let left = std::fs::read_dir(self.node.data().join("machines")).unwrap();
        assert_eq!(left.count(), 0);
        let left = std::fs::read_dir(self.site.folder().join("state/machines"));
        assert_eq!(left.map_or(0, Iterator::count), 0);
    }
}

/// What a runner on a site is told of machines.
pub(crate) fn machines(site: &Site) -> MachineSetup {
    MachineSetup {
        images: site.images(),
        address: NODE.into(),
        passt: PASST.into(),
        program: program("vfioctl-runner"),
        group: None,
        helper: None,
    }
}

/// An image that nothing boots of: its firmware says so and waits.
pub(crate) fn empty_image(folder: &Path) -> Image {
    let file = folder.join("empty.qcow2");
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        .arg(&file)
        .arg("16M")
        .status();
    assert!(made.unwrap().success());
    let import = Import {
        file,
        name: "empty".parse().unwrap(),
        firmware: Firmware::Bios,
    };
    let library = Library::at(folder.join("library"), None);
    import.run(&library, &mut |_| {}).unwrap()
}

/// A small server without GPUs, of an image.
pub(crate) fn submission(image: &str, memory_mib: u64, keys: &[&str]) -> Submission {
    serde_json::from_value(json!({
        "kind": "vps", "name": "box", "backend": {"machine": {"image": image}},
        "cores": 1, "memory": memory_mib, "ssh": {"keys": keys},
    }))
    .unwrap()
}

/// A program of the shell.
pub(crate) fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
