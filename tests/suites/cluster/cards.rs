//! Cards in containers and machines.

use vfioctl_tests::cluster::{ClusterHost, LabNode, Person, StoreOf};

pub(crate) fn explore() {
    let host = ClusterHost::start(&StoreOf::File);
    let alice = Person::log_in(&host, "alice", "user");
    let node = LabNode::join(&host, "node1", "");
    let say = |words: &[&str]| {
        let came = alice.run(words);
        eprintln!(
            "$ vfioctl {}\n{}{}[{}]",
            words.join(" "),
            came.answer,
            came.conversation,
            came.status
        );
    };
    say(&["node", "list"]);
    say(&["node", "status", "node1"]);
    say(&["gpu", "list"]);
    say(&[
        "task",
        "submit",
        "-w",
        "-t",
        "node1::0,1",
        "--",
        "sh",
        "-c",
        "echo hello; ls -l /dev/dri; env",
    ]);
    say(&["task", "logs", "1"]);
    say(&["task", "list"]);
    say(&["node", "status", "node1"]);
    eprintln!("{}", node.log());
    eprintln!("{}", node.root("systemctl status vfioctl-runner --no-pager | head -n 30; ls -la /var/lib/vfioctl-runner; id vfioctl-runner; free -m"));
}
