//! Kills: of the runner before and after everything that it has the engine do, and of the engine.

use std::time::Duration;

use vfioctl_api::{LogStream, Order, Phase, Wanted};
use vfioctl_tests::node::wall::{Stop, Wall};
use vfioctl_tests::node::{ENGINE_GROUP, Node, Setup};
use vfioctl_tests::service::Engine;

use crate::bed::{Bed, Test, container, exited, server, setup_of, sh};

pub(crate) const TESTS: &[Test] = &[
    Test(
        "runner_that_is_killed_at_any_step_doubles_nothing_and_leaves_nothing",
        steps,
    ),
    Test(
        "runner_that_is_killed_while_a_server_is_started_again_keeps_its_files",
        again,
    ),
    Test(
        "engine_that_is_killed_comes_back_and_the_end_is_told",
        engine,
    ),
];

/// How long a step may take to be reached.
const STEP: Duration = Duration::from_secs(20);

/// A command that leaves a trace each time it runs.
fn traced(node: &Node) -> Order {
    let mut submission = sh("echo ran >>/x/trace; echo out");
    container(&mut submission).mounts =
        vec![format!("{}:/x", node.shared().display()).parse().unwrap()];
    node.draft(&submission)
}

fn traces(node: &Node) -> usize {
    std::fs::read_to_string(node.shared().join("trace"))
        .unwrap_or_default()
        .lines()
        .count()
}

fn steps(bed: &Bed) {
    let wall = Wall::build(&bed.engine().socket(), None);
    let setup = Setup {
        engine: wall.socket(),
        ..bed.setup()
    };
    let whole = Node::start(&setup);
    let order = traced(&whole);
    whole.order(&order);
    assert_eq!(whole.wait_until_over(&order), exited(0));
    let steps = wall.seen();
    assert_eq!(steps.len(), 3, "make, start, remove: {steps:?}");
    drop(whole);
    let mut node = Node::start(&setup);
    for step in 0..steps.len() {
        for stop in [Stop::Before, Stop::After] {
            let _ = std::fs::remove_file(node.shared().join("trace"));
            let stop = stop(wall.seen().len() + step);
            let what = format!("{stop:?} of {:?}", steps[step]);
            wall.stop_at(stop);
            let mut order = traced(&node);
            node.order(&order);
            assert!(
                wall.wait_until_stopped(STEP),
                "{what} is not reached\n{}",
                node.log()
            );
            node.kill();
            wall.release();
            node.restart();
            let phase = node.wait_until_over(&order);
            let ran = traces(&node);
            let is_true = match &phase {
                Phase::Exited(exit) => exit.status == 0 && ran == 1,
                Phase::NotStarted { .. } => ran == 0,
                Phase::Vanished { .. } => ran <= 1,
                _ => false,
            };
            assert!(
                is_true,
                "{what}: {phase:?}, ran {ran} times\n{}",
                node.log()
            );
            if matches!(phase, Phase::Exited(_)) {
                assert_eq!(
                    node.read_log(&order, LogStream::Stdout, 0, true),
                    "out\n",
                    "{what}"
                );
            }
            assert_eq!(bed.containers_of(&order), [""; 0], "{what}");
            node.remove(&mut order);
        }
    }
}

fn again(bed: &Bed) {
    let wall = Wall::build(&bed.engine().socket(), None);
    let mut node = Node::start(&Setup {
        engine: wall.socket(),
        ..bed.setup()
    });
    let mut order = node.submit(&server());
    node.wait_until_running(&order);
    let name = format!("vfioctl-{}", order.task);
    bed.say(&["exec", &name, "sh", "-c", "echo kept >/root/file"]);
    for stop in [Stop::Before, Stop::After] {
        node.want(&mut order, Wanted::Stop);
        assert_eq!(node.wait_until_over(&order), Phase::Stopped);
        wall.stop_at(stop(wall.seen().len()));
        order.run += 1;
        node.want(&mut order, Wanted::Run);
        assert!(wall.wait_until_stopped(STEP), "{}", node.log());
        node.kill();
        wall.release();
        node.restart();
        node.wait_for("it is known whether it runs", |node| {
            node.phase(&order)
                .is_some_and(|phase| phase.is_over() || matches!(phase, Phase::Running { .. }))
        });
        // Not begun, nobody says that it ended; begun, it runs.
        match (stop(0), node.phase(&order).unwrap()) {
            (Stop::Before(_), Phase::Vanished { .. }) | (Stop::After(_), Phase::Running { .. }) => {
            }
            (stop, phase) => panic!("{stop:?}: {phase:?}\n{}", node.log()),
        }
        if node.phase(&order).unwrap().is_over() {
            order.run += 1;
            node.want(&mut order, Wanted::Run);
            node.wait_until_running(&order);
        }
        assert_eq!(bed.say(&["exec", &name, "cat", "/root/file"]), "kept\n");
    }
    node.want(&mut order, Wanted::Kill);
    assert_eq!(node.wait_until_over(&order), Phase::Killed);
    node.remove(&mut order);
    assert_eq!(bed.containers_of(&order), [""; 0]);
}

fn engine(bed: &Bed) {
    let mut engine = Engine::start(bed.kind, ENGINE_GROUP).unwrap();
    let node = Node::start(&setup_of(&engine));
    let mut order = node.submit(&sh("echo before; sleep 4; echo after"));
    node.wait_until_running(&order);
    node.wait_for("it writes", |node| {
        node.task_folder(&order.task)
            .join("stdout.log")
            .metadata()
            .is_ok_and(|m| m.len() > 0)
    });
    engine.kill().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    engine.restart().unwrap();
    let phase = node.wait_until_over(&order);
    let log = node.read_log(&order, LogStream::Stdout, 0, true);
    // Podman's containers go on without it. Docker ends them when it comes back.
    match phase {
        Phase::Exited(exit) if exit.status == 0 => assert_eq!(log, "before\nafter\n"),
        Phase::Exited(exit) => assert_eq!(
            (exit.status, exit.out_of_memory, log.as_str()),
            (137, false, "before\n")
        ),
        other => panic!("{other:?}"),
    }
    node.remove(&mut order);
    let next = node.submit(&sh("true"));
    assert_eq!(node.wait_until_over(&next), exited(0), "it is used again");
    let left = engine
        .command(&["ps", "--all", "--quiet"])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(left, "");
}
