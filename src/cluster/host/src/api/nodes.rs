//! Nodes and their GPUs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use vfioctl_api::{GpuView, NodeName, NodeView, Problem, Summary};

use super::Service;
use super::body::Named;
use super::problem::{Answer, ApiError};

/// Lists nodes.
#[utoipa::path(get, path = "/v1/nodes", responses(
    (status = 200, body = Vec<NodeView>), (status = "default", body = Problem)))]
pub(crate) async fn list_nodes(State(service): State<Service>) -> Answer<Vec<NodeView>> {
    Ok(Json(service.cluster.nodes()))
}

/// Shows a node: what it is, how it fares, and who has its GPUs.
#[utoipa::path(get, path = "/v1/nodes/{node}", params(("node" = NodeName, Path, description = "The node.")),
    responses((status = 200, body = NodeView), (status = "default", body = Problem)))]
pub(crate) async fn show_node(
    State(service): State<Service>,
    Named(node): Named<NodeName>,
) -> Answer<NodeView> {
    Ok(Json(service.cluster.node(&node)?))
}

/// Removes a node from the cluster; its certificate is none any more.
#[utoipa::path(delete, path = "/v1/nodes/{node}", params(("node" = NodeName, Path, description = "The node.")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn remove_node(
    State(service): State<Service>,
    Named(node): Named<NodeName>,
) -> Result<StatusCode, ApiError> {
    service.cluster.remove_node(&node).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Places nothing new on a node; what runs there goes on.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", params(("node" = NodeName, Path, description = "The node.")),
    responses((status = 200, body = NodeView), (status = "default", body = Problem)))]
pub(crate) async fn drain_node(
    State(service): State<Service>,
    Named(node): Named<NodeName>,
) -> Answer<NodeView> {
    Ok(Json(service.cluster.drain(&node, true).await?))
}

/// Places work on a node again.
#[utoipa::path(post, path = "/v1/nodes/{node}/resume", params(("node" = NodeName, Path, description = "The node.")),
    responses((status = 200, body = NodeView), (status = "default", body = Problem)))]
pub(crate) async fn resume_node(
    State(service): State<Service>,
    Named(node): Named<NodeName>,
) -> Answer<NodeView> {
    Ok(Json(service.cluster.drain(&node, false).await?))
}

/// Lists the GPUs of all nodes, and who has them.
#[utoipa::path(get, path = "/v1/gpus", responses(
    (status = 200, body = Vec<GpuView>), (status = "default", body = Problem)))]
pub(crate) async fn list_gpus(State(service): State<Service>) -> Answer<Vec<GpuView>> {
    Ok(Json(service.cluster.gpus()))
}

/// Tells the whole cluster in numbers.
#[utoipa::path(get, path = "/v1/summary", responses(
    (status = 200, body = Summary), (status = "default", body = Problem)))]
pub(crate) async fn summary(State(service): State<Service>) -> Answer<Summary> {
    Ok(Json(service.cluster.summary()))
}
