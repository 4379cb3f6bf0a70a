use serde_json::{Value, json};

use super::*;
use crate::cluster_sample::task_json;
use crate::fake_host::{Reply, events, ok, problem, run};

const ID: &str = "01jd3k7x9qz4m";

fn taken(state: &str) -> Reply {
    Reply::Json(201, task_json(state))
}

#[test]
fn what_the_guide_types_is_what_is_asked_for() {
    let words = [
        "task",
        "submit",
        "-t",
        "mynode::0,1",
        "-c",
        "8",
        "-m",
        "32G",
        "--",
        "python",
        "train.py",
        "--json",
    ];
    let outcome = run(&words, vec![taken("assigned")]);
    assert_eq!(
        (
            outcome.verdict,
            outcome.answer.as_str(),
            outcome.conversation.as_str()
        ),
        (
            Verdict::Yes,
            "01jd3k7x9qz4m\n",
            "assigned to gpu-1, GPUs 0,1\n"
        )
    );
    assert_eq!(outcome.questions(), ["POST /v1/tasks"]);
    let expected = json!({
        "kind": "command", "target": "mynode::0,1", "cores": 8, "memory": 32768, "gpu_mode": "shared",
        "queue": false,
        "backend": {"container": {"command": ["python", "train.py", "--json"], "privileged": false}},
    });
    assert_eq!(outcome.asked[0].body, expected);
}

#[test]
fn every_option_has_its_place() {
    let words = [
        "task",
        "submit",
        "--gpus",
        "2",
        "--gpu-model",
        "4090",
        "--memory-min",
        "20G",
        "--gpu-mode",
        "exclusive",
        "--container",
        "my-pytorch",
        "--mount",
        "/a",
        "--mount",
        "/b:/c:ro",
        "-e",
        "A=1=2",
        "--env",
        "B=",
        "--workdir",
        "/w",
        "--name",
        "run",
        "--queue",
        "--privileged",
        "--",
        "true",
    ];
    let outcome = run(&words, vec![taken("queued")]);
    assert_eq!(outcome.verdict, Verdict::Yes, "{}", outcome.conversation);
    let expected = json!({
        "kind": "command", "name": "run", "cores": 1, "gpu_mode": "exclusive", "queue": true,
        "gpus": {"count": 2, "model": "4090", "memory_min": 20480},
        "backend": {"container": {
            "command": ["true"], "archive": "my-pytorch", "mounts": ["/a:/a", "/b:/c:ro"],
            "environment": {"A": "1=2", "B": ""}, "working_folder": "/w", "privileged": true,
        }},
    });
    assert_eq!(outcome.asked[0].body, expected);
}

#[test]
fn what_makes_no_sense_is_told_before_anybody_is_asked() {
    let cases: [(&[&str], &str); 9] = [
        (
            &["-t", "a::", "--", "x"],
            "invalid value 'a::' for '--target <TARGET>'",
        ),
        (
            &["-m", "4Q", "--", "x"],
            "invalid value '4Q' for '--memory <SIZE>'",
        ),
        (&["-c", "0", "--", "x"], "0 as cores is outside 1 to 4096"),
        (
            &["--gpus", "1", "-t", "a::0", "--", "x"],
            "GPUs are named by the target and described as well",
        ),
        (
            &["--gpu-model", "x", "--", "x"],
            "the following required arguments were not provided: --gpus",
        ),
        (
            &["--image", "a", "--container", "b", "--", "x"],
            "the argument '--image <IMAGE>' cannot be used with",
        ),
        (
            &["--mount", "data", "--", "x"],
            "invalid value 'data' for '--mount <MOUNT>'",
        ),
        (
            &["-e", "THIS_IS_NOT_SET_ANYWHERE", "--", "x"],
            "the variable 'THIS_IS_NOT_SET_ANYWHERE' cannot be passed on",
        ),
        (
            &["-t", "a"],
            "the following required arguments were not provided: <COMMAND>",
        ),
    ];
    for (words, what) in cases {
        let words: Vec<&str> = ["task", "submit"].iter().chain(words).copied().collect();
        let outcome = run(&words, vec![taken("queued")]);
        assert_eq!(
            (outcome.verdict, outcome.questions().len()),
            (Verdict::CouldNot, 0),
            "{words:?}"
        );
        assert!(
            outcome
                .conversation
                .starts_with(&format!("vfioctl: {what}")),
            "{}",
            outcome.conversation
        );
    }
}

#[test]
fn a_refusal_is_a_clear_no_with_who_and_why() {
    let outcome = run(
        &["task", "submit", "-t", "gpu-1::2", "--", "x"],
        vec![problem(409, "taken")],
    );
    assert_eq!(
        (outcome.verdict, outcome.conversation.as_str()),
        (Verdict::No, "vfioctl: it cannot be\n  try: do it\n")
    );
    let outcome = run(
        &["--json", "task", "submit", "--", "x"],
        vec![problem(503, "store_unavailable")],
    );
    assert_eq!(outcome.verdict, Verdict::CouldNot);
    assert_eq!(outcome.json()["error"]["name"], "StoreUnavailable");
}

#[test]
fn waiting_ends_with_what_became_of_it() {
    for (state, verdict, last) in [
        ("completed", Verdict::Yes, "completed on gpu-1, GPUs 0,1"),
        (
            "failed",
            Verdict::No,
            "failed on gpu-1, GPUs 0,1: it ended with status 3",
        ),
        ("killed", Verdict::No, "killed on gpu-1, GPUs 0,1"),
        (
            "out_of_memory",
            Verdict::No,
            "out of memory on gpu-1, GPUs 0,1: it used more memory than it was given",
        ),
        ("lost", Verdict::No, "lost on gpu-1, GPUs 0,1"),
    ] {
        let states = [
            task_json("assigned"),
            task_json("running"),
            task_json(state),
        ];
        let replies = vec![taken("assigned"), events(&states)];
        let outcome = run(&["task", "submit", "-w", "--", "x"], replies);
        assert_eq!(
            (outcome.verdict, outcome.answer.as_str()),
            (verdict, "01jd3k7x9qz4m\n")
        );
        let told: Vec<&str> = outcome.conversation.lines().collect();
        assert_eq!(
            told[..3],
            [
                "assigned to gpu-1, GPUs 0,1",
                "running on gpu-1, GPUs 0,1",
                last
            ]
        );
        assert_eq!(told.len(), if verdict == Verdict::Yes { 3 } else { 4 });
        assert_eq!(outcome.questions()[1], format!("GET /v1/tasks/{ID}/events"));
    }
}

#[test]
fn waiting_goes_on_over_a_restart_of_the_host_and_says_so_once() {
    let half = match events(&[task_json("running")]) {
        Reply::Bytes(bytes, _) => Reply::Bytes(bytes, true),
        other => other,
    };
    let replies = vec![
        taken("assigned"),
        half,
        Reply::Hangs,
        problem(503, "store_unavailable"),
        events(&[task_json("running"), task_json("completed")]),
    ];
    let outcome = run(&["task", "submit", "-w", "--json", "--", "x"], replies);
    assert_eq!(outcome.verdict, Verdict::Yes, "{}", outcome.conversation);
    assert_eq!(outcome.json()["task"]["state"], "completed");
    assert_eq!(
        outcome.conversation.matches("no answer just now").count(),
        1,
        "{}",
        outcome.conversation
    );
    assert_eq!(outcome.asked.len(), 5);
}

#[test]
fn a_task_that_is_removed_meanwhile_is_not_waited_for() {
    let replies = vec![Reply::Bytes(
        b"event: removed\ndata: \"x\"\n\n".to_vec(),
        false,
    )];
    let outcome = run(&["task", "wait", ID], replies);
    assert_eq!(outcome.verdict, Verdict::CouldNot);
    assert!(outcome.conversation.contains("was removed meanwhile"));
}

#[test]
fn several_are_waited_for_and_the_worst_counts() {
    let replies = || {
        vec![
            events(&[task_json("failed")]),
            events(&[task_json("running"), task_json("completed")]),
        ]
    };
    let outcome = run(&["task", "wait", "one", "two"], replies());
    assert_eq!(
        (outcome.verdict, outcome.answer.as_str()),
        (
            Verdict::No,
            "01jd3k7x9qz4m: failed on gpu-1, GPUs 0,1: it ended with status 3\n\
             01jd3k7x9qz4m: completed on gpu-1, GPUs 0,1\n"
        )
    );
    let outcome = run(&["task", "wait", "one", "two", "--json"], replies());
    assert_eq!(outcome.json()["tasks"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_watch_tells_each_change() {
    let states = [
        task_json("running"),
        task_json("running"),
        task_json("completed"),
    ];
    let outcome = run(&["task", "watch", ID, "--json"], vec![events(&states)]);
    let told: Vec<Value> = outcome
        .answer
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let states: Vec<&Value> = told.iter().map(|one| &one["task"]["state"]).collect();
    assert_eq!(
        (outcome.verdict, states),
        (Verdict::Yes, vec![&json!("running"), &json!("completed")])
    );
}

#[test]
fn long_lists_are_asked_for_in_pieces() {
    let page = |more| ok(json!({"tasks": [task_json("running")], "more": more}));
    let words = [
        "task", "list", "-l", "3", "--mine", "-s", "running", "-n", "gpu-1",
    ];
    let me = ok(json!({"user": "ann", "role": "user"}));
    let outcome = run(&words, vec![me, page(true), page(true), page(true)]);
    let asked = "kind=command";
    assert_eq!(
        outcome.questions(),
        [
            "GET /v1/me".to_owned(),
            format!("GET /v1/tasks?state=running&node=gpu-1&owner=ann&{asked}&limit=3"),
            format!("GET /v1/tasks?state=running&node=gpu-1&owner=ann&{asked}&limit=2&before={ID}"),
            format!("GET /v1/tasks?state=running&node=gpu-1&owner=ann&{asked}&limit=1&before={ID}"),
        ]
    );
    assert_eq!(outcome.answer.lines().count(), 4);
    assert_eq!(
        outcome.conversation,
        "there are more tasks; '--limit' lists more of them\n"
    );
    let outcome = run(
        &["task", "list", "--status", "failed"],
        vec![ok(json!({"tasks": [], "more": true}))],
    );
    assert_eq!(
        (outcome.answer.as_str(), outcome.conversation.as_str()),
        ("", "there are no such tasks\n")
    );
}

#[test]
fn a_task_is_killed_shown_and_forgotten() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["task", "kill", "training"],
            "POST /v1/tasks/training/kill",
        ),
        (&["task", "status", "01jd"], "GET /v1/tasks/01jd"),
        (
            &["task", "rm", ID],
            "DELETE /v1/tasks/01jd3k7x9qz4m?force=false",
        ),
        (
            &["task", "rm", "-f", ID],
            "DELETE /v1/tasks/01jd3k7x9qz4m?force=true",
        ),
    ];
    for (words, question) in cases {
        let outcome = run(words, vec![ok(task_json("killed"))]);
        assert_eq!(
            (outcome.verdict, outcome.questions()),
            (Verdict::Yes, vec![question])
        );
    }
}

#[test]
fn an_event_without_end_is_not_read_to_its_end() {
    let line = [b"data: ".to_vec(), vec![b'x'; limits::EVENT_BYTES]].concat();
    let lines =
        b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(limits::EVENT_BYTES / 40);
    for bytes in [line, lines] {
        let replies = vec![
            Reply::Bytes(bytes, false),
            ok(json!({"version": "0", "api": "v1"})),
        ];
        let outcome = run(&["task", "wait", ID], replies);
        assert_eq!(outcome.verdict, Verdict::CouldNot);
        assert!(
            outcome.conversation.contains("an event is longer than"),
            "{}",
            outcome.conversation
        );
    }
}
