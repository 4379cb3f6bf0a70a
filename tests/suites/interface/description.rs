//! The description (OpenAPI) against the running host: every path in it is there, every answer has the
//! shape that it promises, and nothing else is there.

use libtest_mimic::Trial;
use serde_json::{Value, json};
use vfioctl_tests::cluster::{ClusterHost, StoreOf};
use vfioctl_tests::schema::conforms;
use vfioctl_tests::suite;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        suite::trial("description_is_of_this_host", is_of_this_host),
        suite::trial("description_tells_the_answers", tells_the_answers),
    ]
}

fn is_of_this_host() {
    let host = ClusterHost::start(&StoreOf::File);
    let served = host.ask("GET", "/v1/openapi.json", &Value::Null);
    let described = serde_json::to_value(vfioctl_host::api::description()).unwrap();
    assert_eq!(served, described);

    let mut wire = host.wire();
    for (path, item) in served["paths"].as_object().unwrap() {
        let path = path
            .replace("{task}", "0000000000000")
            .replace("{node}", "nowhere")
            .replace("{user}", "nobody")
            .replace("{token}", "nothing")
            .replace("{stream}", "nothing");
        for method in ["GET", "POST", "DELETE", "PUT", "PATCH"] {
            let is_described = item.get(method.to_lowercase()).is_some();
            // Without a token: whether it is there is told before who may use it is asked.
            let answer = wire.ask(method, &path, None, b"{}");
            let is_there = !answer.text().contains("does not take this method");
            assert_eq!(is_described, is_there, "{method} {path}: {}", answer.text());
        }
    }
    let answer = wire.ask("GET", "/v1/nothing", Some(host.admin()), b"");
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
}

/// Asks what can be asked, well and badly, and holds each answer against what is said of it.
fn tells_the_answers() {
    let host = ClusterHost::start(&StoreOf::File);
    let document = host.ask("GET", "/v1/openapi.json", &Value::Null);
    let _node = host.join("node1");
    let submission = json!({
        "kind": "command",
        "backend": {"container": {"command": ["true"]}},
        "queue": true,
    });
    let task = host.ask("POST", "/v1/tasks", &submission);
    let id = task["id"].as_str().unwrap().to_owned();
    let questions: Vec<(&str, &str, String, Value)> = vec![
        ("GET", "/v1/version", "/v1/version".into(), Value::Null),
        ("GET", "/v1/me", "/v1/me".into(), Value::Null),
        ("POST", "/v1/tasks", "/v1/tasks".into(), submission.clone()),
        (
            "POST",
            "/v1/tasks",
            "/v1/tasks".into(),
            json!({"kind": "x"}),
        ),
        ("GET", "/v1/tasks", "/v1/tasks?limit=5".into(), Value::Null),
        ("GET", "/v1/tasks", "/v1/tasks?state=no".into(), Value::Null),
        (
            "GET",
            "/v1/tasks/{task}",
            format!("/v1/tasks/{id}"),
            Value::Null,
        ),
        (
            "GET",
            "/v1/tasks/{task}",
            "/v1/tasks/none".into(),
            Value::Null,
        ),
        (
            "POST",
            "/v1/tasks/{task}/stop",
            format!("/v1/tasks/{id}/stop"),
            Value::Null,
        ),
        (
            "POST",
            "/v1/tasks/{task}/start",
            format!("/v1/tasks/{id}/start"),
            Value::Null,
        ),
        (
            "POST",
            "/v1/tasks/{task}/kill",
            format!("/v1/tasks/{id}/kill"),
            Value::Null,
        ),
        (
            "DELETE",
            "/v1/tasks/{task}",
            format!("/v1/tasks/{id}"),
            Value::Null,
        ),
        ("GET", "/v1/nodes", "/v1/nodes".into(), Value::Null),
        (
            "GET",
            "/v1/nodes/{node}",
            "/v1/nodes/node1".into(),
            Value::Null,
        ),
        (
            "POST",
            "/v1/nodes/{node}/drain",
            "/v1/nodes/node1/drain".into(),
            Value::Null,
        ),
        (
            "POST",
            "/v1/nodes/{node}/resume",
            "/v1/nodes/node1/resume".into(),
            Value::Null,
        ),
        ("GET", "/v1/gpus", "/v1/gpus".into(), Value::Null),
        ("GET", "/v1/summary", "/v1/summary".into(), Value::Null),
        (
            "POST",
            "/v1/users",
            "/v1/users".into(),
            json!({"name": "ann", "role": "user"}),
        ),
        (
            "POST",
            "/v1/users",
            "/v1/users".into(),
            json!({"name": "ann", "role": "user"}),
        ),
        (
            "POST",
            "/v1/users/{user}/tokens",
            "/v1/users/ann/tokens".into(),
            json!({"note": "x"}),
        ),
        ("GET", "/v1/users", "/v1/users".into(), Value::Null),
        (
            "DELETE",
            "/v1/users/{user}",
            "/v1/users/ann".into(),
            Value::Null,
        ),
        (
            "POST",
            "/v1/joins",
            "/v1/joins".into(),
            json!({"node": "node2"}),
        ),
        ("GET", "/v1/audit", "/v1/audit?limit=10".into(), Value::Null),
        (
            "DELETE",
            "/v1/nodes/{node}",
            "/v1/nodes/node1".into(),
            Value::Null,
        ),
    ];
    for (method, path, asked, body) in questions {
        let answer = host.try_ask(method, &asked, &body);
        let operation = &document["paths"][path][method.to_lowercase()];
        let responses = &operation["responses"];
        let promised = responses.get(answer.status.to_string());
        let promised = promised.or_else(|| responses.get("default"));
        let promised =
            promised.unwrap_or_else(|| panic!("{method} {asked}: {} is not said", answer.status));
        let schema = &promised["content"]["application/json"]["schema"];
        if schema.is_null() {
            assert!(
                answer.body.is_empty(),
                "{method} {asked}: {}",
                answer.text()
            );
            continue;
        }
        if let Err(problem) = conforms(&document, schema, &answer.json()) {
            panic!("{method} {asked}: {problem}: {}", answer.text());
        }
    }
}
