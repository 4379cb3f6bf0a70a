use serde_json::{Value, json};

use super::*;
use crate::cluster_sample::{ssh_json, vps_json};
use crate::fake_host::{Outcome, Reply, events, ok, run};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ann@home";

fn create(words: &[&str], replies: Vec<Reply>) -> Outcome {
    let words: Vec<&str> = ["vps", "create"].iter().chain(words).copied().collect();
    run(&words, replies)
}

fn asked(words: &[&str]) -> Value {
    let outcome = create(words, vec![Reply::Json(201, vps_json("assigned"))]);
    assert_eq!(
        outcome.verdict,
        Verdict::Yes,
        "{words:?}: {}",
        outcome.conversation
    );
    outcome.asked.into_iter().next().unwrap().body
}

#[test]
fn what_the_guide_types_is_what_is_asked_for() {
    let container = asked(&["-t", "mynode::2"]);
    assert_eq!(
        container,
        json!({
            "kind": "vps", "target": "mynode::2", "cores": 1, "gpu_mode": "shared", "queue": false,
            "backend": {"container": {"privileged": false}},
        })
    );
    let words = [
        "--backend",
        "qemu",
        "-t",
        "mynode::0",
        "--vm-memory",
        "16384",
        "-c",
        "8",
        "--public-key-string",
        KEY,
    ];
    assert_eq!(
        asked(&words),
        json!({
            "kind": "vps", "target": "mynode::0", "cores": 8, "memory": 16384, "gpu_mode": "shared",
            "queue": false, "backend": {"machine": {}}, "ssh": {"keys": [KEY]},
        })
    );
}

#[test]
fn container_and_docker_are_one_word_and_so_are_machine_and_qemu() {
    for (word, kind) in [
        ("docker", "container"),
        ("container", "container"),
        ("qemu", "machine"),
        ("machine", "machine"),
    ] {
        let asked = asked(&["--backend", word, "--no-ssh-key"]);
        assert!(asked["backend"][kind].is_object(), "{word}");
        // A machine has SSH always, a container on request.
        assert_eq!(asked["ssh"].is_object(), kind == "machine", "{word}");
    }
    let machine = asked(&[
        "--backend",
        "machine",
        "--no-ssh-key",
        "--vm-image",
        "debian-12",
        "--vm-disk",
        "100",
        "-m",
        "4G",
    ]);
    assert_eq!(
        machine["backend"]["machine"],
        json!({"image": "debian-12", "disk_gib": 100})
    );
    assert_eq!(machine["memory"], 4096);
    let container = asked(&[
        "--ssh",
        "--no-ssh-key",
        "--mount",
        "/d:/d:ro",
        "--image",
        "a:1",
    ]);
    assert_eq!(container["ssh"], json!({"keys": []}));
}

#[test]
fn options_of_the_other_backend_are_refused() {
    let cases: [(&[&str], &str); 8] = [
        (
            &["--vm-disk", "10"],
            "--vm-disk is about machines, and this is a container",
        ),
        (
            &["--vm-memory", "4096"],
            "--vm-memory is about machines, and this is a container",
        ),
        (
            &["--vm-image", "a", "--backend", "docker"],
            "--vm-image is about machines, and this is a container",
        ),
        (
            &["--backend", "qemu", "--image", "a"],
            "--image is about containers, and this is a machine",
        ),
        (
            &["--backend", "qemu", "--privileged"],
            "--privileged is about containers, and this is a machine",
        ),
        (
            &["--backend", "qemu", "--vm-memory", "1", "-m", "1G"],
            "the argument '--vm-memory <MIB>' cannot be used with '--memory <SIZE>'",
        ),
        (
            &["--backend", "xen"],
            "invalid value 'xen' for '--backend <BACKEND>'",
        ),
        (
            &["--public-key-string", "command=\"sh\" ssh-rsa AAAA"],
            "'command=\"sh\" ssh-rsa AAAA' is not a public key",
        ),
    ];
    for (words, what) in cases {
        let outcome = create(words, vec![ok(vps_json("assigned"))]);
        assert_eq!(
            (outcome.verdict, outcome.asked.len()),
            (Verdict::CouldNot, 0),
            "{words:?}"
        );
        let expected = format!("vfioctl: {what}");
        assert!(
            outcome
                .conversation
                .replace('\\', "")
                .starts_with(&expected),
            "{}",
            outcome.conversation
        );
    }
}

#[test]
fn waiting_for_a_server_ends_when_it_answers() {
    let progress = |state: &str, text: &str| {
        let mut vps = vps_json(state);
        vps["progress"] = text.into();
        vps
    };
    let mut ready = vps_json("running");
    ready["ssh"] = ssh_json();
    let states = [
        progress("starting", "pinning 16 GiB: 9 GiB done"),
        progress("running", "waiting for SSH"),
        ready,
    ];
    let words = ["--backend", "qemu", "--no-ssh-key", "--wait"];
    let outcome = create(&words, vec![ok(vps_json("assigned")), events(&states)]);
    assert_eq!(
        (outcome.verdict, outcome.answer.as_str()),
        (Verdict::Yes, "01jd3k8000abc\n")
    );
    assert_eq!(
        outcome.conversation,
        "starting on gpu-1, GPU 2: pinning 16 GiB: 9 GiB done\nrunning on gpu-1, GPU 2: waiting for SSH\n\
         running on gpu-1, GPU 2\nit answers: 'vfioctl vps ssh 01jd3k8000abc'\n"
    );
    let mut failed = vps_json("failed");
    failed["reason"] = "QEMU ended: no memory".into();
    let outcome = create(&words, vec![ok(vps_json("assigned")), events(&[failed])]);
    assert_eq!(outcome.verdict, Verdict::No);
    assert_eq!(
        outcome.conversation,
        "failed on gpu-1, GPU 2: QEMU ended: no memory\n"
    );
}

#[test]
fn a_restart_stops_waits_and_starts() {
    let id = "01jd3k8000abc";
    let replies = vec![
        ok(vps_json("running")),
        ok(vps_json("stopping")),
        events(&[vps_json("stopping"), vps_json("stopped")]),
        ok(vps_json("assigned")),
    ];
    let outcome = run(&["vps", "restart", "desk"], replies);
    assert_eq!(
        outcome.questions(),
        [
            "GET /v1/tasks/desk".to_owned(),
            format!("POST /v1/tasks/{id}/stop"),
            format!("GET /v1/tasks/{id}/events"),
            format!("POST /v1/tasks/{id}/start"),
        ]
    );
    assert_eq!(
        (outcome.verdict, outcome.answer.as_str()),
        (Verdict::Yes, "01jd3k8000abc: assigned to gpu-1, GPU 2\n")
    );
    let outcome = run(
        &["vps", "restart", "desk"],
        vec![ok(vps_json("stopped")), ok(vps_json("assigned"))],
    );
    assert_eq!(
        outcome.asked.len(),
        2,
        "one that is stopped is only started"
    );
}

#[test]
fn a_stop_can_be_waited_for() {
    let replies = || vec![ok(vps_json("stopping")), events(&[vps_json("stopped")])];
    let outcome = run(&["vps", "stop", "-w", "desk"], replies());
    assert_eq!(
        (outcome.verdict, outcome.answer.as_str()),
        (Verdict::Yes, "01jd3k8000abc: stopped on gpu-1, GPU 2\n")
    );
    let outcome = run(&["vps", "stop", "desk"], replies());
    assert_eq!(outcome.answer, "01jd3k8000abc: stopping on gpu-1, GPU 2\n");
}

#[test]
fn a_server_without_a_way_in_says_why() {
    let outcome = run(&["vps", "ssh", "desk"], vec![ok(vps_json("stopped"))]);
    assert_eq!(
        (outcome.verdict, outcome.conversation.as_str()),
        (
            Verdict::No,
            "vfioctl: server 01jd3k8000abc is not reached by SSH now\n  because: stopped on gpu-1, \
             GPU 2\n  try: start it: 'vfioctl vps start --wait 01jd3k8000abc'\n"
        )
    );
}
