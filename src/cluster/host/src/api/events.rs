//! Events: tasks as they change, for those who would otherwise ask all the time.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;
use vfioctl_api::{Change, Problem, ProblemCode};

use super::Service;
use super::body::Named;
use super::problem::ApiError;
use crate::cluster::{TaskEvent, TaskEvents};
use crate::limits::{MAX_STREAMS, STREAM_BEAT};

type Events = Sse<
    axum::response::sse::KeepAliveStream<
        std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>,
    >,
>;

/// Tells a task as it is, and each time that it changes: events `task`; `removed` once it is forgotten.
#[utoipa::path(get, path = "/v1/tasks/{task}/events", params(("task" = String, Path, description = "The task.")),
    responses((status = 200, description = "Events with a Change each.", body = Change, content_type = "text/event-stream"),
        (status = "default", body = Problem)))]
pub(crate) async fn watch_task(
    State(service): State<Service>,
    Named(task): Named<String>,
) -> Result<Events, ApiError> {
    let id = service.cluster.resolve(&task)?;
    let permit = permit(&service)?;
    // Watched before it is looked at, so that nothing falls between.
    let events = service.cluster.watch(Some(id.clone()));
    let first = service.cluster.task_change(&id);
    Ok(sse(first, events, permit))
}

/// Tells every task each time that it changes.
#[utoipa::path(get, path = "/v1/events", responses(
    (status = 200, description = "Events with a Change each.", body = Change, content_type = "text/event-stream"),
    (status = "default", body = Problem)))]
pub(crate) async fn watch_tasks(State(service): State<Service>) -> Result<Events, ApiError> {
    let permit = permit(&service)?;
    Ok(sse(None, service.cluster.watch(None), permit))
}

fn permit(service: &Service) -> Result<OwnedSemaphorePermit, Problem> {
    std::sync::Arc::clone(&service.streams)
        .try_acquire_owned()
        .map_err(|_| {
            let message = format!("{MAX_STREAMS} streams of events are being read from this host");
            Problem::new(ProblemCode::TooMuch, message).hint("try again in a moment")
        })
}

fn sse(first: Option<Change>, events: TaskEvents, permit: OwnedSemaphorePermit) -> Events {
    let first = first.map(|change| TaskEvent::Changed(Box::new(change)));
    let stream = stream::unfold(
        (first, events, permit),
        |(first, mut events, permit)| async move {
            let event = match first {
                Some(first) => first,
                None => events.next().await?,
            };
            Some((Ok(to_event(&event)), (None, events, permit)))
        },
    );
    let stream: std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>> =
        Box::pin(stream);
    Sse::new(stream).keep_alive(KeepAlive::new().interval(STREAM_BEAT))
}

fn to_event(event: &TaskEvent) -> Event {
    let (name, made) = match event {
        TaskEvent::Changed(change) => {
            let id = change.revision.to_string();
            ("task", Event::default().id(id).json_data(change))
        }
        TaskEvent::Forgotten(id) => ("removed", Event::default().json_data(id)),
        TaskEvent::Missed => ("missed", Ok(Event::default().data(""))),
    };
    made.unwrap_or_default().event(name)
}
