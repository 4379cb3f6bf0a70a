//! Problems, as answers.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use vfioctl_api::{Problem, ProblemCode};

/// Why a request has no other answer.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Problem);

/// What a handler comes to.
pub(crate) type Answer<T> = Result<Json<T>, ApiError>;

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let problem = match &rejection {
            JsonRejection::BytesRejection(_)
                if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Problem::new(
                    ProblemCode::TooMuch,
                    "the request is longer than any of its kind needs to be",
                )
            }
            _ => Problem::new(
                ProblemCode::BadRequest,
                format!("the request is not understood: {}", rejection.body_text()),
            )
            .hint(
                "send JSON as /v1/openapi.json describes it, with 'Content-Type: application/json'",
            ),
        };
        Self(problem)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        let message = format!("the question is not understood: {}", rejection.body_text());
        Self(
            Problem::new(ProblemCode::BadRequest, message)
                .hint("see /v1/openapi.json for what can be asked"),
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = self.0.code;
        let mut response = (status, Json(self.0)).into_response();
        // For the audit log.
        response.extensions_mut().insert(code);
        response
    }
}
