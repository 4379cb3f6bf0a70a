//! What runners say.

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use vfioctl_api::{
    Enrolled, Enrolment, Problem, ProblemCode, Register, Registered, Sync, SyncReply,
};

use super::Service;
use super::body::{Body, Named};
use super::guard::OfNode;
use super::later::Later;
use super::problem::{Answer, ApiError};
use crate::cluster::Exchange;

/// Lets a node in: with its token, once, it gets a certificate for the key it has made.
#[utoipa::path(post, path = "/v1/runner/enrol", request_body = Enrolment, responses(
    (status = 201, body = Enrolled), (status = "default", body = Problem)))]
pub(crate) async fn enrol(
    State(service): State<Service>,
    Body(enrolment): Body<Enrolment>,
) -> Result<(StatusCode, Json<Enrolled>), ApiError> {
    let node = service.cluster.invited(&enrolment.token)?;
    let issued = service
        .authority
        .issue(&node, &enrolment.request)
        .map_err(|error| {
            Problem::new(
                ProblemCode::BadRequest,
                format!("the signing request is not understood: {error}"),
            )
            .hint("send a certificate signing request in PEM")
        })?;
    let node = service
        .cluster
        .enrol(&enrolment.token, &issued.fingerprint)
        .await?;
    let enrolled = Enrolled {
        node,
        certificate: issued.certificate,
        authority: service.authority.certificate().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(enrolled)))
}

/// A runner presents itself with the full picture of its node.
#[utoipa::path(post, path = "/v1/runner/register", request_body = Register, responses(
    (status = 200, body = Registered), (status = "default", body = Problem)))]
pub(crate) async fn register(
    State(service): State<Service>,
    OfNode(node): OfNode,
    Body(register): Body<Register>,
) -> Answer<Registered> {
    Ok(Json(service.cluster.register(&node, register).await?))
}

/// One exchange: heartbeat, what has changed, and the orders that the runner has not seen.
#[utoipa::path(post, path = "/v1/runner/sync", request_body = Sync, responses(
    (status = 200, body = SyncReply), (status = "default", body = Problem)))]
pub(crate) async fn sync(
    State(service): State<Service>,
    OfNode(node): OfNode,
    Body(sync): Body<Sync>,
) -> Result<Response, ApiError> {
    match service.cluster.hear_sync(&node, sync).await? {
        Exchange::Over(reply) => Ok(Json(reply).into_response()),
        Exchange::Waits(waiting) => {
            let cluster = service.cluster;
            let answer = async move {
                let reply = waiting.reply(&cluster).await;
                reply.map(Json).map_err(ApiError).into_response()
            };
            Ok(Later::new(answer).into_response())
        }
    }
}

/// Sends a log that somebody reads, as it is written.
#[utoipa::path(post, path = "/v1/runner/streams/{stream}",
    params(("stream" = String, Path, description = "The stream that was ordered.")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn send_log(
    State(service): State<Service>,
    OfNode(node): OfNode,
    Named(stream): Named<String>,
    mut body: HttpBody,
) -> Result<StatusCode, ApiError> {
    let nobody = || Problem::new(ProblemCode::NotFound, "nobody waits for this log");
    let sender = service
        .cluster
        .relay
        .sender(&stream, &node)
        .ok_or_else(nobody)?;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let _ = sender
                .send(Err("the connection to the node broke".into()))
                .await;
            break;
        };
        if let Ok(data) = frame.into_data()
            && sender.send(Ok(data.to_vec())).await.is_err()
        {
            // The reader has gone: the runner need send no more.
            return Err(nobody().into());
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
