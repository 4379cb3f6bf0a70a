//! Cards in containers and in machines: the right one, all of it, and nobody else's.

use serde_json::Value;
use vfioctl_tests::cluster::{ClusterHost, LabNode, Person, StoreOf};
use vfioctl_tests::world::User;

/// Prints the nodes of cards that are in a container, and nothing else of `/dev/dri`.
const LIST: [&str; 3] = ["sh", "-c", "cd /dev/dri && ls -d card*"];

/// A small machine with these cards.
fn machine_on(target: &str) -> [&str; 11] {
    [
        "vps",
        "create",
        "--backend",
        "qemu",
        "--no-ssh-key",
        "-t",
        target,
        "--vm-memory",
        "128",
        "-c",
        "1",
    ]
}

/// A cluster with a node, and people who use it.
struct Bed {
    _host: ClusterHost,
    node: LabNode,
    alice: Person,
    bob: Person,
}

impl Bed {
    fn new() -> Self {
        let host = ClusterHost::start_for_labs(&StoreOf::File);
        let node = LabNode::join(&host, "node1", "");
        let image = "vfioctl image import /usr/local/share/lab/guest-wait.qcow2 --name small --firmware bios";
        node.root(image);
        Self {
            alice: Person::log_in(&host, "alice", "user"),
            bob: Person::log_in(&host, "bob", "user"),
            _host: host,
            node,
        }
    }

    /// The card's node that a card at an address has now; nothing where its driver is away.
    fn card(&self, address: &str) -> String {
        let script = format!("readlink /dev/dri/by-path/pci-0000:{address}-card || :");
        let path = self.node.root(&script);
        path.trim()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    fn machine(&self, person: &Person, target: &str) -> String {
        self.node.wait_for("the image is known", || {
            let shown = person.json(&["node", "status", "node1"]);
            shown["node"]["report"]["images"]
                .to_string()
                .contains("small")
        });
        person.submit(&[&machine_on(target)[..], &["--vm-image", "small"]].concat())
    }

    fn wait_for_state(&self, task: &str, state: &str) {
        self.node.wait_for(&format!("{task} is {state}"), || {
            self.alice.state(task) == state
        });
    }
}

/// GPU 0 goes into a machine, and GPU 1 is GPU 1 still.
pub(crate) fn other_card_stays_the_same() {
    let bed = Bed::new();
    let second = bed.card("02:00.0");
    assert!(!second.is_empty());
    let both = bed
        .alice
        .work(&[&["-t", "node1::0,1", "--"], &LIST[..]].concat());
    assert_eq!(both.lines().count(), 2, "{both}");
    let machine = bed.machine(&bed.alice, "node1::0");
    bed.node.wait_for("the guest has looked", || {
        let logs = bed.alice.run(&["vps", "logs", &machine]);
        logs.answer.contains("WAITING")
    });
    // Every function of the card is in the guest, on one bus of its own.
    let console = bed.alice.run(&["vps", "logs", &machine]).done();
    let functions: Vec<(&str, &str)> = console
        .lines()
        .filter_map(|line| line.strip_prefix("pci ")?.split_once(' '))
        .filter(|(_, what)| what.starts_with("1234:1111 ") || what.starts_with("8086:293e "))
        .collect();
    let [(display, _), (audio, _)] = functions.as_slice() else {
        panic!("{functions:?} in {console}");
    };
    assert_eq!(display.strip_suffix(".0"), audio.strip_suffix(".1"));
    assert_eq!(bed.card("01:00.0"), "", "the driver has one card now");
    let only = bed
        .bob
        .work(&[&["-t", "node1::1", "--"], &LIST[..]].concat());
    assert_eq!(only.trim(), second);
    // All see who has what, and the machine's card cannot be had.
    let refused = bed
        .bob
        .run(&["task", "submit", "-t", "node1::0", "--", "true"]);
    let words = refused.fails(1);
    assert!(
        words.contains(&machine) && words.contains("alice"),
        "{words}"
    );
    let gpus = bed.bob.json(&["gpu", "list"]);
    assert!(gpus["gpus"][0].to_string().contains(&machine), "{gpus:#}");
    bed.alice.run(&["vps", "stop", &machine, "--wait"]).done();
    bed.node
        .wait_for("the card is home", || !bed.card("01:00.0").is_empty());
    bed.alice.run(&["vps", "rm", &machine]).done();
    bed.node.wait_for("nothing is left", || {
        bed.node
            .root("ls /var/lib/vfioctl-runner/machines; ls /run/vfioctl/machines/*")
            .is_empty()
    });
}

/// Nobody takes the neighbour of a card that a container uses: the host refuses, and the helper does where
/// the host is not asked.
pub(crate) fn card_in_use_is_not_taken_with_its_group() {
    let bed = Bed::new();
    let server = bed.alice.submit(&["vps", "create", "-t", "node1::2"]);
    bed.wait_for_state(&server, "running");
    let words = bed.bob.run(&machine_on("node1::3")).fails(1);
    for part in ["GPU 3", "GPU 2", &server, "alice"] {
        assert!(words.contains(part), "no {part} in: {words}");
    }
    // Behind its back, somebody who may ask the helper on the node.
    for device in ["03:00.0", "04:00.0"] {
        let taken = bed
            .node
            .lab()
            .run_as(User::Bob, &format!("vfioctl bind {device} 2>&1"));
        assert_eq!(taken.rc, 1, "{}", taken.text);
        for part in [&format!("vfioctl-{server}"), "alice"] {
            assert!(taken.text.contains(part), "no {part} in: {}", taken.text);
        }
    }
    assert_eq!(
        bed.node
            .root("ls /sys/bus/pci/drivers/vfio-pci | grep -c : || :")
            .trim(),
        "0"
    );
    // A second container shares the card, one that wants it alone does not get it.
    let same = bed
        .bob
        .work(&[&["-t", "node1::2", "--"], &LIST[..]].concat());
    assert_eq!(same.trim(), bed.card("03:00.0"));
    let alone = [
        "task",
        "submit",
        "-t",
        "node1::2",
        "--gpu-mode",
        "exclusive",
        "--",
        "true",
    ];
    bed.bob.run(&alone).fails(1);
    // On the node, a person has a card: the cluster knows, and says who.
    bed.node
        .lab()
        .run_as(User::Bob, "vfioctl bind 07:00.0")
        .success()
        .unwrap();
    bed.node.wait_for("the cluster knows", || {
        let gpus = bed.alice.json(&["gpu", "list"]);
        gpus["gpus"][4].to_string().contains("bob")
    });
    let words = bed
        .alice
        .run(&["task", "submit", "-t", "node1::4", "--", "true"])
        .fails(1);
    assert!(words.contains("bob"), "{words}");
    bed.node
        .lab()
        .run_as(User::Bob, "vfioctl release 07:00.0")
        .success()
        .unwrap();
    bed.alice.run(&["vps", "rm", "--force", &server]).done();
}

/// By target, by need, and two at once on one card, on two nodes.
pub(crate) fn two_nodes_take_work() {
    let host = ClusterHost::start_for_labs(&StoreOf::File);
    let nodes = ["node1", "node2"].map(|name| LabNode::join(&host, name, ""));
    let alice = Person::log_in(&host, "alice", "user");
    for node in &nodes {
        let words = ["-t", node.name(), "--", "hostname"];
        let came = alice.run(&[&["task", "submit", "--wait"], &words[..]].concat());
        assert_eq!(came.status, 0, "{came:?}\n{}\n{}", node.log(), host.log());
        assert_eq!(alice.work(&words).trim(), node.name());
    }
    let drained = host.ask("POST", "/v1/nodes/node1/drain", &Value::Null);
    assert_eq!(drained["drained"], true, "{drained:#}");
    let placed = alice.work(&[
        "--gpus",
        "1",
        "--",
        "sh",
        "-c",
        "hostname; ls -d /dev/dri/card*",
    ]);
    let lines: Vec<&str> = placed.lines().collect();
    assert!(
        lines.len() == 2 && lines.first() == Some(&"node2"),
        "{placed}"
    );
    // The card's own device is in both containers at once.
    let number = "stat -c %t:%T /dev/dri/card*; sleep 8";
    let share = ["task", "submit", "-t", "node2::1", "--", "sh", "-c", number];
    let tasks = [alice.submit(&share), alice.submit(&share)];
    let shown = alice.json(&["gpu", "list", "--node", "node2"]);
    for task in &tasks {
        assert!(shown["gpus"][1].to_string().contains(task), "{shown:#}");
        alice.run(&["task", "wait", task]).done();
    }
    let [one, other] = tasks.map(|task| alice.run(&["task", "logs", &task]).done());
    let real = nodes[1].root("stat -L -c %t:%T /dev/dri/by-path/pci-0000:02:00.0-card");
    assert_eq!([&one, &other], [&real, &real]);
    let [first, second] = ["node1", "node2"].map(|name| alice.json(&["node", "status", name]));
    assert_ne!(
        first["node"]["report"]["machine"],
        second["node"]["report"]["machine"]
    );
}
