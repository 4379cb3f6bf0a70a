//! Requests that the client does not make, or does not read the answers of.
//!
//! Podman's own API takes what its Docker API leaves out: CDI devices (`POST /libpod/containers/create`,
//! since Podman 4.0). And Podman calls states by names that Docker does not have, at which the client
//! gives up; so what containers do is read here.

use std::collections::BTreeMap;
use std::path::Path;

use bollard::models::ContainerInspectResponse;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;

use super::engine::EngineError;
use crate::limits::{ENGINE_TIME, ENGINE_WORK_TIME, MAX_ENGINE_ANSWER, MAX_LISTED};

const CREATE: &str = "/v4.0.0/libpod/containers/create";

/// Makes a container with Podman.
///
/// # Errors
/// [`EngineError`].
pub(super) async fn create_with_podman(socket: &Path, spec: &Value) -> Result<(), EngineError> {
    let body = Bytes::from(spec.to_string());
    ask(socket, "POST", CREATE, body, ENGINE_WORK_TIME)
        .await
        .map(|_| ())
}

/// What there is of a container; none where there is none.
///
/// # Errors
/// [`EngineError`].
pub(super) async fn inspect_container(
    socket: &Path,
    api: (usize, usize),
    name: &str,
) -> Result<Option<ContainerInspectResponse>, EngineError> {
    let path = format!("/v{}.{}/containers/{name}/json", api.0, api.1);
    let mut found = match ask(socket, "GET", &path, Bytes::new(), ENGINE_TIME).await {
        Err(error) if error.is_absent() => return Ok(None),
        answered => answered?,
    };
    if let Some(state) = found.get_mut("State").and_then(Value::as_object_mut) {
        let name = state.get("Status").and_then(Value::as_str).map(docker_name);
        if let Some(name) = name {
            state.insert("Status".into(), name.into());
        }
    }
    match serde_json::from_value(found) {
        Ok(found) => Ok(Some(found)),
        Err(error) => Err(EngineError::Unreachable(format!(
            "its answer is not understood: {error}"
        ))),
    }
}

/// What Docker calls a state (`libpod/define/containerstate.go` of Podman). What neither knows is left
/// open; whether a container runs is told beside it.
fn docker_name(state: &str) -> &'static str {
    match state {
        "created" | "configured" | "initialized" => "created",
        "running" => "running",
        "paused" => "paused",
        "restarting" => "restarting",
        "removing" => "removing",
        "stopping" => "stopping",
        "exited" | "stopped" => "exited",
        "dead" => "dead",
        _ => "",
    }
}

/// A container, as it stands in a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "ListedByEngine")]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    /// What it does, in Docker's words; empty where neither engine's words are known.
    pub(super) state: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedByEngine {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
}

impl From<ListedByEngine> for Listed {
    fn from(listed: ListedByEngine) -> Self {
        // Docker puts a slash before names.
        let name = listed
            .names
            .first()
            .map(|name| name.trim_start_matches('/').to_owned());
        Self {
            name: name.unwrap_or_default(),
            labels: listed.labels.unwrap_or_default(),
            state: docker_name(&listed.state.to_lowercase()).to_owned(),
        }
    }
}

/// The containers that have a label; its value is letters and digits.
///
/// # Errors
/// [`EngineError`].
pub(super) async fn list_containers(
    socket: &Path,
    api: (usize, usize),
    label: &str,
    value: &str,
) -> Result<Vec<Listed>, EngineError> {
    // {"label":["LABEL=VALUE"]}, percent-encoded (RFC 3986, section 2.1).
    let filters = format!("%7B%22label%22%3A%5B%22{label}%3D{value}%22%5D%7D");
    let path = format!(
        "/v{}.{}/containers/json?all=true&limit={MAX_LISTED}&filters={filters}",
        api.0, api.1
    );
    let listed = ask(socket, "GET", &path, Bytes::new(), ENGINE_TIME).await?;
    let listed = serde_json::from_value(listed);
    listed.map_err(|error| EngineError::Unreachable(format!("its list is not understood: {error}")))
}

async fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    body: Bytes,
    limit: std::time::Duration,
) -> Result<Value, EngineError> {
    let (status, answer) =
        match tokio::time::timeout(limit, exchange(socket, method, path, body)).await {
            Ok(answered) => answered.map_err(EngineError::Unreachable)?,
            Err(_) => {
                let reason = format!("it has not answered within {} s", limit.as_secs());
                return Err(EngineError::Unreachable(reason));
            }
        };
    let value: Option<Value> = serde_json::from_slice(&answer).ok();
    if (200..300).contains(&status) {
        return value.ok_or_else(|| EngineError::Unreachable("its answer is no JSON".into()));
    }
    let words = value
        .as_ref()
        .and_then(|said| said.get("message")?.as_str().map(str::to_owned));
    let message = words.unwrap_or_else(|| String::from_utf8_lossy(&answer).into_owned());
    Err(EngineError::Refused { status, message })
}

async fn exchange(
    socket: &Path,
    method: &str,
    path: &str,
    body: Bytes,
) -> Result<(u16, Bytes), String> {
    let stream = tokio::net::UnixStream::connect(socket)
        .await
        .map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "localhost")
        .header("Content-Type", "application/json")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ENGINE_ANSWER)
        .collect()
        .await;
    connection.abort();
    Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_lists_are_understood() {
        let text = r#"[{"Names": ["/a"], "State": "exited", "Labels": {"x": "y"}},
            {"Names": ["b"], "State": "stopped", "Labels": null}, {"Names": [], "State": "Configured"}]"#;
        let listed: Vec<Listed> = serde_json::from_str(text).unwrap();
        let seen: Vec<_> = listed
            .iter()
            .map(|one| (one.name.as_str(), one.state.as_str(), one.labels.len()))
            .collect();
        assert_eq!(
            seen,
            [("a", "exited", 1), ("b", "exited", 0), ("", "created", 0)]
        );
    }
}
