//! Tasks.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use vfioctl_api::{Page, Problem, Submission, Task, TaskFilter};

use super::Service;
use super::body::{Body, Named, Question};
use super::guard::OfUser;
use super::problem::{Answer, ApiError};

/// Asks for work: a command in a container, or a server in a container or a virtual machine.
///
/// It is placed at once where there is room. A command that names no GPUs of a node waits where there
/// is none; everything else is refused, with who is in the way, unless `queue` is true.
#[utoipa::path(post, path = "/v1/tasks", request_body = Submission, responses(
    (status = 201, body = Task), (status = "default", body = Problem)))]
pub(crate) async fn submit(
    State(service): State<Service>,
    OfUser(caller): OfUser,
    Body(submission): Body<Submission>,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let task = service.cluster.submit(caller.user, submission).await?;
    Ok((StatusCode::CREATED, Json(task)))
}

/// Lists tasks, the latest first.
#[utoipa::path(get, path = "/v1/tasks", params(TaskFilter), responses(
    (status = 200, body = Page), (status = "default", body = Problem)))]
pub(crate) async fn list_tasks(
    State(service): State<Service>,
    Question(filter): Question<TaskFilter>,
) -> Answer<Page> {
    Ok(Json(service.cluster.tasks(&filter)))
}

/// Shows a task; it is named by its number, the beginning of that, or its name.
#[utoipa::path(get, path = "/v1/tasks/{task}", params(("task" = String, Path, description = "The task.")), responses(
    (status = 200, body = Task), (status = "default", body = Problem)))]
pub(crate) async fn show_task(
    State(service): State<Service>,
    Named(task): Named<String>,
) -> Answer<Task> {
    Ok(Json(service.cluster.task(&task)?))
}

/// What removing a task is asked with.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    /// Whether it is ended first where it runs, and forgotten without its node where that is away.
    #[serde(default)]
    force: bool,
}

/// Forgets a task that is over, with its log, and with the disk of a server.
#[utoipa::path(delete, path = "/v1/tasks/{task}", params(("task" = String, Path, description = "The task."), Removal),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub(crate) async fn remove_task(
    State(service): State<Service>,
    OfUser(caller): OfUser,
    Named(task): Named<String>,
    Question(removal): Question<Removal>,
) -> Answer<Task> {
    Ok(Json(
        service.cluster.remove(caller, &task, removal.force).await?,
    ))
}

/// Ends a task at once.
#[utoipa::path(post, path = "/v1/tasks/{task}/kill", params(("task" = String, Path, description = "The task.")),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub(crate) async fn kill_task(
    State(service): State<Service>,
    OfUser(caller): OfUser,
    Named(task): Named<String>,
) -> Answer<Task> {
    Ok(Json(service.cluster.kill(caller, &task).await?))
}

/// Stops a server; what it wrote is kept, and its GPUs are free for others.
#[utoipa::path(post, path = "/v1/tasks/{task}/stop", params(("task" = String, Path, description = "The task.")),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub(crate) async fn stop_task(
    State(service): State<Service>,
    OfUser(caller): OfUser,
    Named(task): Named<String>,
) -> Answer<Task> {
    Ok(Json(service.cluster.stop(caller, &task).await?))
}

/// Starts a server that was stopped, on its node and with its GPUs.
#[utoipa::path(post, path = "/v1/tasks/{task}/start", params(("task" = String, Path, description = "The task.")),
    responses((status = 200, body = Task), (status = "default", body = Problem)))]
pub(crate) async fn start_task(
    State(service): State<Service>,
    OfUser(caller): OfUser,
    Named(task): Named<String>,
) -> Answer<Task> {
    Ok(Json(service.cluster.start(caller, &task).await?))
}
