//! Containers on a node: the runner's own code as a user without rights, with real engines, a real helper
//! on a machine in a folder, and OpenSSH's client.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

use vfioctl_api::{Backend, Container, Exit, Kind as TaskKind, Phase, Submission};
use vfioctl_tests::fake::run_helper_if_asked;
use vfioctl_tests::node::{ENGINE_GROUP, Node, Setup, run_runner_if_asked};
use vfioctl_tests::service::{Engine, Kind, obstacle};
use vfioctl_tests::suite::{ignored, run, trial};

type Test = (&'static str, fn(Kind));

const TESTS: &[Test] = &[("command_runs_to_its_end_with_its_logs", command)];

fn main() {
    run_helper_if_asked();
    run_runner_if_asked();
    let obstacle = obstacle();
    let mut trials = Vec::new();
    for (kind, word) in [(Kind::Docker, "docker"), (Kind::Podman, "podman")] {
        for (name, test) in TESTS {
            let name = format!("{word}_{name}");
            trials.push(match &obstacle {
                None => trial(name, move || test(kind)),
                Some(reason) => ignored(name, reason),
            });
        }
    }
    run(trials);
}

fn command_of(words: &[&str]) -> Submission {
    Submission {
        kind: TaskKind::Command,
        name: None,
        backend: Backend::Container(Container {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Container::default()
        }),
        target: None,
        gpus: None,
        gpu_mode: Default::default(),
        cores: 1,
        memory: None,
        ssh: None,
        queue: false,
    }
}

fn sh(script: &str) -> Submission {
    command_of(&["sh", "-c", script])
}

fn exited(status: i64) -> Phase {
    Phase::Exited(Exit {
        status,
        out_of_memory: false,
    })
}

fn command(kind: Kind) {
    let engine = Engine::start(kind, ENGINE_GROUP).unwrap();
    let setup = Setup {
        engine: engine.socket(),
        helper: "/nowhere/helper.sock".into(),
        ..Setup::default()
    };
    let node = Node::start(&setup);
    for status in [0, 3] {
        let order = node.submit(&sh(&format!("echo out; echo err >&2; exit {status}")));
        assert_eq!(node.wait_until_over(&order), exited(status));
        let read = |log| node.read_log(&order, log, 0, true);
        assert_eq!(read(vfioctl_api::LogStream::Stdout), "out\n");
        assert_eq!(read(vfioctl_api::LogStream::Stderr), "err\n");
    }
    println!("{:#?}", node.report());
    println!("{}", node.log());
}
