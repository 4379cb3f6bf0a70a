//! GPUs in containers: whose nodes, by which way, and never none where some were asked for.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use vfioctl_api::{GpuMode, LogStream, Phase, Submission, Wanted};
use vfioctl_tests::node::wall::{Lie, Wall};
use vfioctl_tests::node::{ENGINE_GROUP, FakeGpu, Node, Setup, make_node};
use vfioctl_tests::service::{Engine, Extras, Kind};
use vfioctl_tests::world::{FakeWorld, User, World as _};

use crate::bed::{Bed, Test, exited, not_started, server, setup_of, sh};

pub(crate) const TESTS: &[Test] = &[
    Test("container_has_the_nodes_of_its_card_and_no_others", nodes),
    Test(
        "server_whose_card_has_other_nodes_now_has_those",
        renumbered,
    ),
    Test("card_in_a_container_is_claimed_until_its_end", claimed),
    Test(
        "claims_of_containers_that_are_gone_end_with_a_restart",
        stale_claims,
    ),
    Test("engine_that_leaves_devices_out_runs_nothing", lying),
    Test("card_of_nvidia_gets_in_by_its_uuid", nvidia),
    Test("card_of_nvidia_without_a_way_is_refused", no_way),
];

/// Cards of the machine in a folder.
const CARD: &str = "0000:03:00.0";
const OTHER: &str = "0000:01:00.0";

fn on(target: &str, mut submission: Submission) -> Submission {
    submission.target = Some(format!("node::{target}").parse().unwrap());
    submission
}

/// Two cards with device nodes, which behave as `/dev/null` and `/dev/zero`.
fn two_cards(node: &Node) -> [PathBuf; 2] {
    let [null, zero] = ["renderD128", "renderD129"].map(|name| node.data().join("dri").join(name));
    make_node(&null, 3);
    make_node(&zero, 5);
    node.set_gpus(&[FakeGpu::amd(0, OTHER, &null), FakeGpu::amd(1, CARD, &zero)]);
    [null, zero]
}

/// Lists device nodes with their numbers, and reads one.
fn list(folder: &std::path::Path) -> String {
    format!(
        "cd {}; for node in *; do stat -c '%n %F %t,%T %a' $node; done",
        folder.display()
    )
}

fn nodes(bed: &Bed) {
    let node = bed.node();
    let [null, zero] = two_cards(&node);
    let script = list(null.parent().unwrap());
    let run = |target: &str| {
        let order = node.submit(&on(target, sh(&script)));
        assert_eq!(node.wait_until_over(&order), exited(0));
        node.read_log(&order, LogStream::Stdout, 0, true)
    };
    let line = |name: &str, minor: u8| format!("{name} character special file 1,{minor} 660\n");
    assert_eq!(run("1"), line("renderD129", 5));
    assert_eq!(run("0,1"), line("renderD128", 3) + &line("renderD129", 5));
    let none = node.submit(&sh(&format!(
        "ls {} 2>/dev/null; echo $NVIDIA_VISIBLE_DEVICES",
        null.parent().unwrap().display()
    )));
    assert_eq!(node.wait_until_over(&none), exited(0));
    assert_eq!(node.read_log(&none, LogStream::Stdout, 0, true), "void\n");
    // Two at once, and each can really use it.
    let read = |target| {
        on(
            target,
            sh(&format!("head -c 3 {} | wc -c; sleep 2", zero.display())),
        )
    };
    let (one, two) = (node.submit(&read("1")), node.submit(&read("1")));
    for order in [one, two] {
        assert_eq!(node.wait_until_over(&order), exited(0));
        assert_eq!(node.read_log(&order, LogStream::Stdout, 0, true), "3\n");
    }
    // The numbers stay with the cards, whatever their nodes are called.
    node.set_gpus(&[FakeGpu::amd(0, OTHER, &zero), FakeGpu::amd(1, CARD, &null)]);
    assert_eq!(run("1"), line("renderD128", 3));
}

fn renumbered(bed: &Bed) {
    let node = bed.node();
    let [null, zero] = two_cards(&node);
    let mut order = node.submit(&on("1", server()));
    node.wait_until_running(&order);
    let name = format!("vfioctl-{}", order.task);
    bed.say(&["exec", &name, "sh", "-c", "echo kept >/root/file"]);
    node.want(&mut order, Wanted::Stop);
    assert_eq!(node.wait_until_over(&order), Phase::Stopped);
    node.set_gpus(&[FakeGpu::amd(0, OTHER, &zero), FakeGpu::amd(1, CARD, &null)]);
    order.run = 2;
    node.want(&mut order, Wanted::Run);
    node.wait_until_running(&order);
    let listed = bed.say(&[
        "exec",
        &name,
        "sh",
        "-c",
        &format!("cat /root/file; {}", list(null.parent().unwrap())),
    ]);
    assert_eq!(listed, "kept\nrenderD128 character special file 1,3 660\n");
    node.want(&mut order, Wanted::Kill);
    node.wait_until_over(&order);
    node.remove(&mut order);
    assert_eq!(bed.containers_of(&order), [""; 0]);
    let images = bed.say(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(!images.contains(order.task.as_str()), "{images}");
}

fn with_helper(bed: &Bed, world: &FakeWorld) -> Node {
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.machine().folder(), open).unwrap();
    let node = Node::start(&Setup {
        helper: world.socket(),
        ..bed.setup()
    });
    two_cards(&node);
    node
}

fn claims(world: &FakeWorld) -> Vec<String> {
    let reply = world.call(User::Root, "io.vfioctl.Device.ListClaims", &json!({}));
    let claims = reply["parameters"]["claims"].as_array().unwrap();
    claims
        .iter()
        .filter_map(|claim| {
            claim["owner"]["container"]["name"]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}

fn claimed(bed: &Bed) {
    let world = FakeWorld::start();
    let node = with_helper(bed, &world);
    let mut order = node.submit(&on("1", sh("sleep 1000")));
    node.wait_until_running(&order);
    let name = format!("vfioctl-{}-1", order.task);
    assert_eq!(claims(&world), [name.clone()]);
    assert_eq!(
        world.vfioctl(User::Bob, &["bind", CARD]).status,
        1,
        "nobody takes it away"
    );
    let mut alone = on("1", sh("true"));
    alone.gpu_mode = GpuMode::Exclusive;
    let alone = node.submit(&alone);
    let (reason, may_retry) = not_started(node.wait_until_over(&alone));
    assert!(
        may_retry && reason.contains(&name),
        "in the helper's words: {reason}"
    );
    node.want(&mut order, Wanted::Kill);
    assert_eq!(node.wait_until_over(&order), Phase::Killed);
    assert_eq!(claims(&world), [""; 0]);
    // What a person has, no container gets.
    assert_eq!(world.vfioctl(User::Bob, &["bind", CARD]).status, 0);
    let taken = node.submit(&on("1", sh("true")));
    let (reason, _) = not_started(node.wait_until_over(&taken));
    assert!(reason.contains("bob"), "{reason}");
    // A helper that does not answer gives no GPUs out; what needs none runs.
    world.stop_helper();
    let refused = node.submit(&on("0", sh("true")));
    assert!(not_started(node.wait_until_over(&refused)).1);
    let plain = node.submit(&sh("true"));
    assert_eq!(node.wait_until_over(&plain), exited(0));
}

fn stale_claims(bed: &Bed) {
    let world = FakeWorld::start();
    let mut node = with_helper(bed, &world);
    let order = node.submit(&on("1", sh("sleep 1000")));
    node.wait_until_running(&order);
    let name = format!("vfioctl-{}-1", order.task);
    node.kill();
    std::fs::remove_file(node.data().join(format!("journal/{}.json", order.task))).unwrap();
    // Of another program of the same user: none of this runner's business.
    let own = json!({"name": "other", "addresses": [CARD]});
    world.call(User::Alice, "io.vfioctl.Container.Claim", &own);
    // It still runs: that is told, and its claim stands.
    node.restart();
    node.wait_for("what runs is told", |node| {
        node.report()
            .problems
            .iter()
            .any(|problem| problem.contains(&name))
    });
    assert_eq!(claims(&world).len(), 2);
    bed.say(&["kill", &name]);
    node.restart();
    node.wait_for("what is left is swept", |_| claims(&world) == ["other"]);
    assert_eq!(bed.containers_of(&order), [""; 0]);
}

fn lying(bed: &Bed) {
    let lies: [(&str, Lie); 3] = [
        ("device node", |told: &mut Value| {
            told["HostConfig"]["Devices"] = json!([])
        }),
        ("variable", |told: &mut Value| told["Env"] = json!([])),
        ("limit", |told: &mut Value| {
            told["HostConfig"]["Memory"] = json!(0);
            told["HostConfig"]["MemorySwap"] = json!(0);
        }),
    ];
    for (what, lie) in lies {
        let wall = Wall::build(&bed.engine().socket(), Some(lie));
        let node = Node::start(&Setup {
            engine: wall.socket(),
            ..bed.setup()
        });
        two_cards(&node);
        let order = node.submit(&on("1", sh("true")));
        let (reason, _) = not_started(node.wait_until_over(&order));
        assert!(
            reason.contains(what) && reason.contains("left out"),
            "{reason}"
        );
        assert_eq!(bed.containers_of(&order), [""; 0]);
        let started = wall
            .seen()
            .iter()
            .any(|request| request.ends_with("/start"));
        assert!(!started, "{what}: {:?}", wall.seen());
    }
}

const UUIDS: [&str; 2] = [
    "GPU-11111111-aaaa-bbbb-cccc-000000000001",
    "GPU-22222222-aaaa-bbbb-cccc-000000000002",
];

/// What NVIDIA's hook is told it writes down.
const HOOK: &str = r#"#!/bin/sh
bundle=$(sed 's/.*"bundle":"\([^"]*\)".*/\1/')
grep -o 'NVIDIA_VISIBLE_DEVICES=[^"]*' "$bundle/config.json" >>"$(dirname "$0")/told"
"#;

fn nvidia(bed: &Bed) {
    match bed.kind {
        Kind::Docker => nvidia_by_hook(),
        Kind::Podman => nvidia_by_cdi(),
    }
}

fn cards() -> [FakeGpu; 2] {
    // As after a reboot: the second has the first's node.
    let [one, two] = UUIDS;
    [
        FakeGpu::nvidia(0, OTHER, one),
        FakeGpu::nvidia(1, CARD, two),
    ]
}

fn nvidia_by_hook() {
    let programs = tempfile::tempdir().unwrap();
    std::fs::set_permissions(programs.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let hook = programs.path().join("nvidia-container-runtime-hook");
    std::fs::write(&hook, HOOK).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let extras = Extras {
        programs: Some(programs.path()),
        ..Extras::default()
    };
    let engine = Engine::start_with(Kind::Docker, ENGINE_GROUP, extras).unwrap();
    let node = Node::start(&Setup {
        programs: vec![programs.path().to_owned()],
        ..setup_of(&engine)
    });
    node.set_gpus(&cards());
    let order = node.submit(&on("1", sh("true")));
    assert_eq!(node.wait_until_over(&order), exited(0), "{}", node.log());
    let told = std::fs::read_to_string(programs.path().join("told")).unwrap();
    assert_eq!(told, format!("NVIDIA_VISIBLE_DEVICES={}\n", UUIDS[1]));
    node.wait_for("the way is reported", |node| {
        node.report()
            .versions
            .engine
            .is_some_and(|engine| engine.nvidia.as_deref() == Some("runtime"))
    });
}

fn nvidia_by_cdi() {
    let device = |uuid: &str, word: &str| {
        json!({"name": uuid, "containerEdits": {"env": [format!("CARD={word}")],
            "deviceNodes": [{"path": "/dev/nvidia7", "hostPath": "/dev/zero", "fileMode": 0o600}]}})
    };
    let spec = json!({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
        "devices": [device(UUIDS[0], "first"), device(UUIDS[1], "second")]});
    let text = spec.to_string();
    let extras = Extras {
        etc: &[("cdi/nvidia.json", &text)],
        ..Extras::default()
    };
    let engine = Engine::start_with(Kind::Podman, ENGINE_GROUP, extras).unwrap();
    let cdi = tempfile::tempdir().unwrap();
    std::fs::set_permissions(cdi.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(cdi.path().join("nvidia.json"), &text).unwrap();
    let node = Node::start(&Setup {
        cdi: vec![cdi.path().to_owned()],
        ..setup_of(&engine)
    });
    node.set_gpus(&cards());
    let mut submission = on(
        "1",
        sh("echo $CARD; stat -c '%F %t,%T %a' /dev/nvidia7; echo err >&2; exit 4"),
    );
    crate::bed::container(&mut submission).working_folder = Some("/tmp".into());
    let order = node.submit(&submission);
    assert_eq!(node.wait_until_over(&order), exited(4), "{}", node.log());
    let log = node.read_log(&order, LogStream::Stdout, 0, true);
    assert_eq!(log, "second\ncharacter special file 1,5 600\n");
    assert_eq!(node.read_log(&order, LogStream::Stderr, 0, true), "err\n");
    // A spec that is newer than what the engine sees: it refuses, and nothing runs.
    let unknown = spec.to_string().replace(UUIDS[0], "GPU-3");
    std::fs::write(cdi.path().join("nvidia.json"), unknown).unwrap();
    node.set_gpus(&[FakeGpu::nvidia(0, OTHER, "GPU-3")]);
    let mut refused = node.submit(&on("0", sh("true")));
    assert!(not_started(node.wait_until_over(&refused)).1);
    node.remove(&mut refused);
    let left = engine
        .command(&["ps", "--all", "--quiet"])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(left, "");
}

fn no_way(bed: &Bed) {
    let node = bed.node();
    node.set_gpus(&cards());
    let order = node.submit(&on("1", sh("true")));
    let (reason, may_retry) = not_started(node.wait_until_over(&order));
    assert!(may_retry && reason.contains("nvidia-ctk"), "{reason}");
    assert_eq!(bed.containers_of(&order), [""; 0]);
    node.wait_for("the node says so by itself", |node| {
        node.report()
            .problems
            .iter()
            .any(|problem| problem.contains("nvidia-container-toolkit"))
    });
}
