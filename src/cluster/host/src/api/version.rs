//! What answers, and whom to trust.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use vfioctl_api::{Problem, Version};

use super::Service;
use super::problem::Answer;

/// Tells the host's version.
#[utoipa::path(get, path = "/v1/version", responses((status = 200, body = Version), (status = "default", body = Problem)))]
pub(crate) async fn read_version() -> Answer<Version> {
    Ok(Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: vfioctl_api::VERSION.to_owned(),
    }))
}

/// Tells the certificate of the cluster's authority, in PEM. It is to be held against the fingerprint
/// in a token to join: who sends it here proves nothing.
#[utoipa::path(get, path = "/v1/authority", responses(
    (status = 200, body = String, content_type = "application/x-pem-file"), (status = "default", body = Problem)))]
pub(crate) async fn read_authority(State(service): State<Service>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "application/x-pem-file")],
        service.authority.certificate().to_owned(),
    )
}
