//! The HTTP interface: one file a subject, and one table of who may what.
//!
//! Every request goes the same way: it is matched to a route, [`policy`] tells who may use that,
//! `guard` finds out who asks and writes changes into the audit log, and a handler turns it into one
//! call of [`Cluster`]. Handlers decide nothing. The description of the interface (OpenAPI) is made
//! from the same functions that answer.

mod body;
mod events;
mod guard;
mod later;
mod logs;
mod nodes;
mod people;
pub mod policy;
mod problem;
mod runner;
mod tasks;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get};
use tokio::sync::Semaphore;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vfioctl_api::{Problem, ProblemCode};

use crate::audit::Audit;
use crate::authority::Authority;
use crate::cluster::Cluster;
use crate::limits::{MAX_BODY, MAX_RUNNER_BODY, MAX_STREAMS};

pub use guard::Peer;
pub(crate) use later::{Later, LaterAnswer};
use problem::ApiError;

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) cluster: Cluster,
    pub(crate) authority: Arc<Authority>,
    pub(crate) audit: Arc<Audit>,
    /// Streams of events that may still be begun.
    pub(crate) streams: Arc<Semaphore>,
}

impl Service {
    /// Puts together what handlers work with.
    pub fn new(cluster: Cluster, authority: Arc<Authority>, audit: Arc<Audit>) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self {
            cluster,
            authority,
            audit,
            streams,
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "vfioctl",
        description = "The HTTP interface of a vfioctl cluster. Users send a token ('Authorization: Bearer ...'), \
                       runners present a certificate of the cluster's authority. Errors are a Problem, with the \
                       status of HTTP that goes with its code."
    ),
    components(schemas(Problem, ProblemCode))
)]
struct Description;

/// All routes, with their description.
fn described() -> OpenApiRouter<Service> {
    let users = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(version::read_version))
        .routes(routes!(version::read_authority))
        .routes(routes!(people::who_am_i))
        .routes(routes!(tasks::submit, tasks::list_tasks))
        .routes(routes!(tasks::show_task, tasks::remove_task))
        .routes(routes!(tasks::kill_task))
        .routes(routes!(tasks::stop_task))
        .routes(routes!(tasks::start_task))
        .routes(routes!(logs::read_log))
        .routes(routes!(events::watch_task))
        .routes(routes!(events::watch_tasks))
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(nodes::show_node, nodes::remove_node))
        .routes(routes!(nodes::drain_node))
        .routes(routes!(nodes::resume_node))
        .routes(routes!(nodes::list_gpus))
        .routes(routes!(nodes::summary))
        .routes(routes!(people::list_users, people::add_user))
        .routes(routes!(people::remove_user))
        .routes(routes!(people::add_token))
        .routes(routes!(people::remove_token))
        .routes(routes!(people::invite))
        .routes(routes!(people::read_audit))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    let runners = OpenApiRouter::new()
        .routes(routes!(runner::enrol))
        .routes(routes!(runner::register))
        .routes(routes!(runner::sync))
        .layer(DefaultBodyLimit::max(MAX_RUNNER_BODY));
    // A log has no length that is known before.
    let streams = OpenApiRouter::new()
        .routes(routes!(runner::send_log))
        .layer(DefaultBodyLimit::disable());
    users.merge(runners).merge(streams)
}

/// The description of the interface, with who may use what.
pub fn description() -> utoipa::openapi::OpenApi {
    let mut description = described().into_openapi();
    policy::describe(&mut description);
    description
}

/// The whole interface.
pub fn router(service: Service) -> Router {
    let (router, _) = described().split_for_parts();
    let description = Arc::new(serde_json::to_value(description()).unwrap_or_default());
    let openapi: MethodRouter<Service> = get(move || {
        let description = Arc::clone(&description);
        async move { axum::Json(description.as_ref().clone()) }
    });
    router
        .route("/v1/openapi.json", openapi)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_path)
        .layer(axum::middleware::from_fn_with_state(
            service.clone(),
            guard::guard,
        ))
        .with_state(service)
}

async fn no_such_path() -> ApiError {
    Problem::new(ProblemCode::NotFound, "there is nothing at this path")
        .hint("see /v1/openapi.json for what there is")
        .into()
}

async fn method_not_allowed() -> ApiError {
    Problem::new(
        ProblemCode::BadRequest,
        "this path does not take this method",
    )
    .hint("see /v1/openapi.json for what there is")
    .into()
}
