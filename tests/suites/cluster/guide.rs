//! The guide, as a new administrator goes through it: every command of it, on a host and two nodes.

use std::path::Path;
use std::time::Duration;

use vfioctl_tests::guide::{Known, Step, read_steps};
use vfioctl_tests::lab::{Lab, Profile};
use vfioctl_tests::world::LabWorld;

/// More than any command of it takes on a busy machine that emulates its processor.
const LIMIT: Duration = Duration::from_secs(180);

/// How many untruths are told at once.
const MOST_UNTRUE: usize = 5;

/// Where a host listens by itself.
const PORT: u16 = 8470;

/// What a real machine has and a lab has not: names of the others, and the file that is imported.
const PREPARE_NODE: &str = "echo 10.0.2.100 host >>/etc/hosts
    cp /usr/local/share/lab/guest-wait.qcow2 /root/debian-12.qcow2
    gpasswd --delete alice vfioctl";

pub(crate) fn every_command() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide.md");
    let steps = read_steps(&std::fs::read_to_string(page).unwrap());
    assert!(steps.len() > 50, "{} commands", steps.len());
    let host = LabWorld::start();
    host.machine().become_node("host").unwrap();
    let outer = host.machine().lead_in(PORT).unwrap().port();
    let nodes = ["node1", "node2"].map(|name| {
        let node = LabWorld::start_as(Profile::Engines);
        node.machine().become_node(name).unwrap();
        node.machine().lead_out(PORT, Some(outer)).unwrap();
        node.root(PREPARE_NODE);
        node
    });
    let mut known = Known::default();
    let mut untrue = Vec::new();
    for step in &steps {
        let lab = match step.place.as_str() {
            "host" => host.machine(),
            "node1" => nodes[0].machine(),
            "node2" => nodes[1].machine(),
            place => panic!("line {}: there is no '{place}'", step.line),
        };
        let command = known.put_in(&step.command);
        let printed = type_in(lab, &step.user, &command);
        if !known.learn(&step.output, &printed) {
            let told = tell(step, &command, &printed);
            eprintln!("{told}");
            untrue.push(told);
            // What follows would only be misled.
            if untrue.len() == MOST_UNTRUE {
                break;
            }
        }
    }
    assert!(untrue.is_empty(), "{}", untrue.join("\n"));
}

fn type_in(lab: &Lab, user: &str, command: &str) -> String {
    let script = format!("exec 2>&1 </dev/null; export LC_ALL=C.UTF-8\n{command}\n");
    let output = match user {
        "root" => lab.run(&format!("export HOME=/root; cd; {script}"), LIMIT),
        user => lab.run_as(user, &script, LIMIT),
    };
    let output = output.unwrap();
    assert!(!output.is_timed_out(), "{command}: {}", output.text);
    output.text
}

fn tell(step: &Step, command: &str, printed: &str) -> String {
    format!(
        "line {}: {}@{}: {command}\n--- the guide says\n{}\n--- and it prints\n{printed}",
        step.line,
        step.user,
        step.place,
        step.output.join("\n")
    )
}
