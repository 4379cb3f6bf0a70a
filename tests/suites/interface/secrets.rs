//! What is secret stays so, what is changed is written down, and nothing listens too early.

use std::path::Path;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use vfioctl_tests::cluster::{ClusterHost, StoreOf};
use vfioctl_tests::suite;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        suite::trial("nothing_listens_before_init", nothing_listens_before_init),
        suite::trial("secrets_are_kept_nowhere", secrets_are_kept_nowhere),
        suite::trial("a_token_to_join_is_used_once", a_token_to_join_is_used_once),
        suite::trial("changes_are_written_down", changes_are_written_down),
        suite::trial("a_cluster_outlives_its_host", a_cluster_outlives_its_host),
    ]
}

fn nothing_listens_before_init() {
    let mut host = ClusterHost::start(&StoreOf::File);
    host.kill();
    std::fs::remove_file(host.data().join("authority.pem")).unwrap();
    std::fs::remove_file(host.data().join("authority.key")).unwrap();
    let output = host.try_program(&["serve"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("vfioctl-host init"), "{text}");
}

/// Whether any file below a folder has this text.
fn is_written_below(folder: &Path, text: &str) -> Option<std::path::PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path)
                .unwrap()
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                return Some(path);
            }
        }
    }
    None
}

fn secrets_are_kept_nowhere() {
    let host = ClusterHost::start(&StoreOf::File);
    let token = host.add_user("ann", "user", None);
    let secret = token.rsplit(['_', '.', '-']).next().unwrap().to_owned();
    let invitation = host.ask("POST", "/v1/joins", &json!({"node": "node1"}));
    let invitation = invitation["token"].as_str().unwrap().to_owned();
    let users = host.ask("GET", "/v1/users", &Value::Null).to_string();
    assert!(!users.contains(&secret), "{users}");
    for secret in [&secret, &invitation, &host.admin().to_owned()] {
        assert!(secret.len() >= 20, "{secret} can be guessed");
        if let Some(path) = is_written_below(&host.data(), secret) {
            panic!("{secret} is in {}", path.display());
        }
    }
    assert!(!host.log().contains(&secret), "{}", host.log());
    use std::os::unix::fs::MetadataExt as _;
    for entry in std::fs::read_dir(host.data()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().mode() & 0o777;
        let is_public = entry.file_name().to_string_lossy().ends_with(".pem");
        assert!(is_public || mode & 0o077 == 0, "{entry:?} is {mode:o}");
    }
}

fn a_token_to_join_is_used_once() {
    let host = ClusterHost::start(&StoreOf::File);
    let member = host.join("node1");
    // The folder still has the token that was used.
    let token = std::fs::read_to_string(member.data.join("token")).unwrap();
    let body = json!({"token": token, "request": "x"}).to_string();
    let answer = host
        .wire()
        .ask("POST", "/v1/runner/enrol", None, body.as_bytes());
    assert_eq!(answer.status, 401, "{}", answer.text());
    // Removed, its certificate opens nothing any more.
    host.ask("DELETE", "/v1/nodes/node1", &Value::Null);
    let mut wire = host.wire_of(&member.identity);
    let answer = wire.ask("POST", "/v1/runner/sync", None, b"{}");
    assert_eq!(answer.status, 401, "{}", answer.text());
}

fn changes_are_written_down() {
    let host = ClusterHost::start(&StoreOf::File);
    let viewer = host.add_user("eve", "viewer", None);
    let refused = host
        .wire()
        .ask("DELETE", "/v1/users/admin", Some(&viewer), b"");
    assert_eq!(refused.status, 403);
    host.ask("DELETE", "/v1/users/eve", &Value::Null);
    host.ask("GET", "/v1/nodes", &Value::Null);
    let lines = host.ask("GET", "/v1/audit", &Value::Null);
    let told: Vec<String> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let word = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {}",
                word("who"),
                word("verb"),
                word("object"),
                word("outcome")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "admin POST /v1/users - done",
            "admin POST /v1/users/{user}/tokens eve done",
            "eve DELETE /v1/users/{user} admin forbidden",
            "admin DELETE /v1/users/{user} eve done",
        ]
    );
}

fn a_cluster_outlives_its_host() {
    let mut host = ClusterHost::start(&StoreOf::File);
    let token = host.add_user("ann", "operator", None);
    let member = host.join("node1");
    let submission = json!({
        "kind": "command",
        "backend": {"container": {"command": ["true"]}},
        "queue": true,
    });
    let task = host.ask("POST", "/v1/tasks", &submission);
    host.kill();
    host.serve();
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let answer = host.wire().ask("GET", &path, Some(&token), b"");
    assert_eq!(answer.json()["state"], "queued", "{}", answer.text());
    let mut wire = host.wire_of(&member.identity);
    let answer = wire.ask("POST", "/v1/runner/sync", None, b"{}");
    assert!(![401, 403].contains(&answer.status), "{}", answer.text());
}
