//! Users, tokens, nodes that shall join, and what everybody did.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use vfioctl_api::{
    AddUser, AuditLine, JoinToken, JoinTokenRequest, NewToken, Problem, ProblemCode, Role,
    TokenRequest, User, UserName, WhoAmI,
};

use super::Service;
use super::body::{Body, Named, Question};
use super::guard::OfUser;
use super::problem::{Answer, ApiError};
use crate::limits::MAX_AUDIT;

/// Tells who the token is of.
#[utoipa::path(get, path = "/v1/me", responses((status = 200, body = WhoAmI), (status = "default", body = Problem)))]
pub(crate) async fn who_am_i(OfUser(caller): OfUser) -> Answer<WhoAmI> {
    Ok(Json(WhoAmI {
        user: caller.user,
        role: caller.role,
    }))
}

/// Lists users.
#[utoipa::path(get, path = "/v1/users", responses(
    (status = 200, body = Vec<User>), (status = "default", body = Problem)))]
pub(crate) async fn list_users(State(service): State<Service>) -> Answer<Vec<User>> {
    Ok(Json(service.cluster.users()))
}

/// Adds a user.
#[utoipa::path(post, path = "/v1/users", request_body = AddUser, responses(
    (status = 201, body = User), (status = "default", body = Problem)))]
pub(crate) async fn add_user(
    State(service): State<Service>,
    Body(add): Body<AddUser>,
) -> Result<(StatusCode, Json<User>), ApiError> {
    let user = service.cluster.add_user(&add).await?;
    Ok((StatusCode::CREATED, Json(user)))
}

/// Removes a user and their tokens; their tasks go on.
#[utoipa::path(delete, path = "/v1/users/{user}", params(("user" = UserName, Path, description = "The user.")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn remove_user(
    State(service): State<Service>,
    Named(user): Named<UserName>,
) -> Result<StatusCode, ApiError> {
    service.cluster.remove_user(&user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a token for oneself, or, as an administrator, for another user. It is told once.
#[utoipa::path(post, path = "/v1/users/{user}/tokens", params(("user" = UserName, Path, description = "The user.")),
    request_body = TokenRequest, responses((status = 201, body = NewToken), (status = "default", body = Problem)))]
pub(crate) async fn add_token(
    State(service): State<Service>,
    OfUser(caller): OfUser,
    Named(user): Named<UserName>,
    Body(request): Body<TokenRequest>,
) -> Result<(StatusCode, Json<NewToken>), ApiError> {
    if caller.user != user && caller.role < Role::Admin {
        let message = format!("a token for '{user}' is made by '{user}', or by an administrator");
        return Err(Problem::new(ProblemCode::Forbidden, message)
            .hint("ask an administrator")
            .into());
    }
    let token = service.cluster.add_token(&user, &request).await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// Revokes a token: one's own, or, as an administrator, any.
#[utoipa::path(delete, path = "/v1/tokens/{token}", params(("token" = String, Path, description = "The token's name.")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn remove_token(
    State(service): State<Service>,
    OfUser(caller): OfUser,
    Named(token): Named<String>,
) -> Result<StatusCode, ApiError> {
    service.cluster.remove_token(&caller, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a token with which one node can join, once.
#[utoipa::path(post, path = "/v1/joins", request_body = JoinTokenRequest, responses(
    (status = 201, body = JoinToken), (status = "default", body = Problem)))]
pub(crate) async fn invite(
    State(service): State<Service>,
    Body(request): Body<JoinTokenRequest>,
) -> Result<(StatusCode, Json<JoinToken>), ApiError> {
    let fingerprint = service.authority.fingerprint();
    let token = service.cluster.invite(&request, &fingerprint).await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// How much of the audit log is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuestion {
    /// At most so many lines; 100 where nothing is said.
    #[serde(default)]
    limit: Option<usize>,
}

/// Tells who changed what through this host, the latest last.
#[utoipa::path(get, path = "/v1/audit", params(AuditQuestion), responses(
    (status = 200, body = Vec<AuditLine>), (status = "default", body = Problem)))]
pub(crate) async fn read_audit(
    State(service): State<Service>,
    Question(question): Question<AuditQuestion>,
) -> Answer<Vec<AuditLine>> {
    let limit = question.limit.unwrap_or(100).min(MAX_AUDIT);
    let lines = service.audit.read(limit).map_err(|error| {
        Problem::new(
            ProblemCode::Internal,
            format!("the audit log cannot be read: {error}"),
        )
    })?;
    Ok(Json(lines))
}
