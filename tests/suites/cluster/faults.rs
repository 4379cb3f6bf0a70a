//! Parts of a cluster that end or fall silent, on a node with a real kernel: what runs goes on, is found
//! again, and ends once.

use vfioctl_tests::cluster::{ClusterHost, LabNode, Person, StoreOf};
use vfioctl_tests::service::Etcd;

/// A command that says each second that it still runs, and ends when it is told.
const SERVE: &str = "import os, time
while not os.path.exists('/data/end'):
    print('here', flush=True)
    time.sleep(1)
print('end')";

const MOUNTS: &str = "mounts = [\"/data\"]";

/// Submits that command, with a card, and waits until it runs.
fn serve(alice: &Person, node: &LabNode) -> String {
    let task = alice.submit(&[
        "task", "submit", "-t", "node1::0", "--mount", "/data", "--", "python", "-c", SERVE,
    ]);
    wait_until_running(alice, node, &task);
    task
}

fn wait_until_running(alice: &Person, node: &LabNode, task: &str) {
    node.wait_for("it runs", || alice.state(task) == "running");
}

/// When the one container of a node was started.
fn started(node: &LabNode) -> String {
    node.root("docker inspect -f '{{.State.StartedAt}}' $(docker ps -q)")
}

/// Every part is killed in turn while a command runs, which does not notice.
pub(crate) fn parts_are_killed() {
    let mut host = ClusterHost::start_for_labs(&StoreOf::File);
    let node = LabNode::join(&host, "node1", MOUNTS);
    node.root("mkdir /data");
    let alice = Person::log_in(&host, "alice", "user");
    let task = serve(&alice, &node);
    let before = started(&node);
    node.root("systemctl kill --kill-who=main --signal=KILL vfioctl-runner");
    node.wait_for("a runner is there again", || {
        node.root("journalctl -u vfioctl-runner | grep -c 'registered with' || :")
            .trim()
            == "2"
    });
    node.root("systemctl kill --kill-who=main --signal=KILL vfioctl-helper");
    let who = node.root("vfioctl list 2>&1 | grep 01:00.0");
    assert!(
        who.contains(&format!("vfioctl-{task}")),
        "the claim is kept: {who}"
    );
    host.kill();
    node.root("sleep 2");
    host.serve();
    node.wait_until(&host, "online");
    wait_until_running(&alice, &node, &task);
    assert_eq!(started(&node), before, "it is the same container");
    node.root("touch /data/end");
    alice.run(&["task", "wait", &task]).done();
    let log = alice.run(&["task", "logs", &task]).done();
    assert!(log.ends_with("here\nend\n"), "{log}");
    // The engine takes its containers with it, and that is told.
    node.root("rm /data/end");
    let task = serve(&alice, &node);
    node.root("systemctl kill --kill-who=all --signal=KILL docker; pkill -KILL containerd-shim || :; pkill -KILL -f /data/end || :; systemctl start docker");
    node.wait_for("its end is told", || {
        let state = alice.state(&task);
        state == "failed" || state == "lost" || state == "killed"
    });
    node.wait_for("nobody has the card", || {
        node.root("vfioctl list 2>&1 | grep 01:00.0")
            .contains("free")
    });
}

/// A node that is cut off goes on with what it runs and begins nothing; what ended meanwhile is told when
/// it is back.
pub(crate) fn node_is_cut_off() {
    let host = ClusterHost::start_for_labs(&StoreOf::File);
    let node = LabNode::join(&host, "node1", MOUNTS);
    node.root("mkdir /data");
    let alice = Person::log_in(&host, "alice", "user");
    let task = serve(&alice, &node);
    node.lab().machine().cut_network().unwrap();
    node.wait_until(&host, "offline");
    let words = alice
        .run(&["task", "submit", "-t", "node1::1", "--", "true"])
        .fails(2);
    assert!(words.contains("offline"), "{words}");
    let waiting = alice.submit(&["task", "submit", "-t", "node1::1", "--queue", "--", "true"]);
    node.root("touch /data/end; for i in $(seq 100); do [ -n \"$(docker ps -q)\" ] || break; sleep .2; done");
    assert_eq!(alice.state(&waiting), "queued");
    node.lab().machine().mend_network().unwrap();
    node.wait_until(&host, "online");
    alice.run(&["task", "wait", &task]).done();
    alice.run(&["task", "wait", &waiting]).done();
}

/// What `VM_ACS_OVERRIDE` promised: cards that fell into one group are apart once the runner has started.
pub(crate) fn acs_is_overridden_at_start() {
    let host = ClusterHost::start_for_labs(&StoreOf::File);
    let node = LabNode::join(&host, "node1", "[acs]\noverride = true");
    let groups = "for card in 07 08; do basename $(readlink /sys/bus/pci/devices/0000:$card:00.0/iommu_group); done";
    node.root("systemctl stop vfioctl-runner; vfioctl acs set 00:06.0 -rr,-cr --regroup 2>&1");
    let joined = node.root(groups);
    let numbers: Vec<&str> = joined.lines().collect();
    assert_eq!(numbers.first(), numbers.last(), "they share a group");
    node.root("systemctl start vfioctl-runner");
    let apart = node.root(groups);
    let numbers: Vec<&str> = apart.lines().collect();
    assert_ne!(numbers.first(), numbers.last(), "{}", node.log());
    node.wait_until(&host, "online");
    let alice = Person::log_in(&host, "alice", "user");
    let shown = alice.json(&["node", "status", "node1"]);
    let problems = shown["node"]["report"]["problems"].to_string();
    assert!(problems.contains("cannot be separated"), "{problems}");
}

/// A cluster that is kept in etcd outlives its end, and the host's beside it: what runs is not touched, and
/// what is submitted meanwhile is refused and not half done.
pub(crate) fn etcd_is_killed() {
    let mut etcd = Etcd::start().unwrap();
    let mut host = ClusterHost::start_for_labs(&StoreOf::Etcd(vec![etcd.endpoint()]));
    let node = LabNode::join(&host, "node1", MOUNTS);
    node.root("mkdir /data");
    let alice = Person::log_in(&host, "alice", "user");
    let task = serve(&alice, &node);
    let before = started(&node);
    etcd.kill();
    let words = alice
        .run(&[
            "task", "submit", "-t", "node1::1", "--name", "never", "--", "true",
        ])
        .fails(2);
    assert!(words.contains("try"), "{words}");
    host.kill();
    etcd.restart().unwrap();
    host.serve();
    node.wait_until(&host, "online");
    wait_until_running(&alice, &node, &task);
    assert_eq!(started(&node), before, "it is the same container");
    node.root("touch /data/end");
    alice.run(&["task", "wait", &task]).done();
    let tasks = alice.json(&["task", "list"]);
    let names: Vec<&str> = tasks["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|task| task["name"].as_str())
        .collect();
    assert!(!names.contains(&"never"), "{tasks:#}");
}
