//! Podman's own API, for the one thing that its Docker API cannot be told: CDI devices.
//!
//! `POST /v4.0.0/libpod/containers/create`, since Podman 4.0; `SpecGenerator` in `pkg/specgen` of Podman.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::engine::EngineError;
use crate::limits::ENGINE_WORK_TIME;

const CREATE: &str = "/v4.0.0/libpod/containers/create";
/// Longest answer: an ID and some warnings.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Makes a container.
///
/// # Errors
/// [`EngineError`].
pub(super) async fn create_container(socket: &Path, spec: &Value) -> Result<(), EngineError> {
    match tokio::time::timeout(ENGINE_WORK_TIME, post(socket, spec)).await {
        Ok(Ok((201, _))) => Ok(()),
        Ok(Ok((status, answer))) => {
            let said: Option<Value> = serde_json::from_slice(&answer).ok();
            let words = said
                .as_ref()
                .and_then(|said| said.get("message")?.as_str().map(str::to_owned));
            let message = words.unwrap_or_else(|| String::from_utf8_lossy(&answer).into_owned());
            Err(EngineError::Refused { status, message })
        }
        Ok(Err(reason)) => Err(EngineError::Unreachable(reason)),
        Err(_) => Err(EngineError::Unreachable(
            "it does not answer in time".into(),
        )),
    }
}

async fn post(socket: &Path, spec: &Value) -> Result<(u16, Bytes), String> {
    let stream = tokio::net::UnixStream::connect(socket)
        .await
        .map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = Request::post(CREATE)
        .header("Host", "localhost")
        .header("Content-Type", "application/json")
        .body(Full::new(Bytes::from(spec.to_string())))
        .map_err(|error| error.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await;
    connection.abort();
    Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
}
