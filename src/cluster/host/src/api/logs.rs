//! Logs, as they come from their nodes.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use utoipa::IntoParams;
use vfioctl_api::{LogStream, Problem};

use super::Service;
use super::body::{Named, Question};
use super::problem::ApiError;
use crate::cluster::{LogPieces, LogWanted};
use crate::limits::STREAM_BEAT;

/// Which part of a log is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuestion {
    /// Standard output, or standard error; of a machine its serial console, or what QEMU says.
    #[serde(default)]
    #[param(inline)]
    log: LogStream,
    /// From which byte on.
    #[serde(default)]
    offset: u64,
    /// Whether to go on with what is written later, until the task's end.
    #[serde(default)]
    follow: bool,
}

/// Reads a log of a task: its bytes as they are, or, where server-sent events are accepted, pieces in
/// events `log`, and an event `end`, or `problem`, at the end.
#[utoipa::path(get, path = "/v1/tasks/{task}/log",
    params(("task" = String, Path, description = "The task."), LogQuestion),
    responses((status = 200, description = "The log.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = Problem)))]
pub(crate) async fn read_log(
    State(service): State<Service>,
    Named(task): Named<String>,
    Question(question): Question<LogQuestion>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let task = service.cluster.task(&task)?;
    let wanted = LogWanted {
        log: question.log,
        offset: question.offset,
        follow: question.follow,
    };
    let pieces = service.cluster.read_log(&task, wanted).await?;
    let accepts = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accepts.contains("text/event-stream") {
        let keep_alive = KeepAlive::new().interval(STREAM_BEAT);
        return Ok(Sse::new(events(pieces))
            .keep_alive(keep_alive)
            .into_response());
    }
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(bytes(pieces))).into_response())
}

fn bytes(pieces: LogPieces) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> {
    stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.next().await?;
        // A reader must be able to tell a log that broke off from one that ended.
        Some((piece.map_err(std::io::Error::other), pieces))
    })
}

fn events(pieces: LogPieces) -> impl Stream<Item = Result<Event, std::convert::Infallible>> {
    stream::unfold(Some(pieces), |pieces| async move {
        let mut pieces = pieces?;
        let (event, rest) = match pieces.next().await {
            Some(Ok(piece)) => {
                let text = String::from_utf8_lossy(&piece).into_owned();
                (
                    Event::default()
                        .event("log")
                        .json_data(text)
                        .unwrap_or_default(),
                    Some(pieces),
                )
            }
            Some(Err(reason)) => (
                Event::default()
                    .event("problem")
                    .json_data(reason)
                    .unwrap_or_default(),
                None,
            ),
            None => (Event::default().event("end").data(""), None),
        };
        Some((Ok(event), rest))
    })
}
