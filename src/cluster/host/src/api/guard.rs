//! The guard: who asks, whether they may, and what goes into the audit log.

use std::net::SocketAddr;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use vfioctl_api::{AuditLine, NodeName, Problem, ProblemCode, Role};

use super::Service;
use super::policy::{Permission, Rule, find};
use super::problem::ApiError;
use crate::cluster::Caller;
use crate::limits::ANSWER_TIME;

/// The other end of a connection, as TLS and the kernel tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// SHA-256 of the certificate that it proved to hold the key of, in hexadecimal.
    pub certificate: Option<String>,
}

/// Who asks, once that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Nobody,
    User(Caller),
    Node(NodeName),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("-"),
            Self::User(caller) => caller.user.fmt(f),
            Self::Node(node) => write!(f, "node {node}"),
        }
    }
}

/// Lets a request through to its handler, or answers it.
pub(crate) async fn guard(
    State(service): State<Service>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let Some(rule) = path.and_then(|path| find(request.method().as_str(), &path)) else {
        // No route, or none that anybody may use.
        return next.run(request).await;
    };
    let peer = request.extensions().get::<Peer>().cloned();
    let who = match identify(&service, rule, &request, peer.as_ref()) {
        Ok(who) => who,
        Err(problem) => {
            audit(
                &service,
                rule,
                &Who::Nobody,
                peer.as_ref(),
                request.uri().path(),
                problem.code,
            );
            return ApiError(problem).into_response();
        }
    };
    if let Err(problem) = authorise(rule, &who) {
        audit(
            &service,
            rule,
            &who,
            peer.as_ref(),
            request.uri().path(),
            problem.code,
        );
        return ApiError(problem).into_response();
    }
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(who.clone());
    let response = match rule.path {
        // A log is written for as long as its task runs.
        "/v1/runner/streams/{stream}" => next.run(request).await,
        _ => match tokio::time::timeout(ANSWER_TIME, next.run(request)).await {
            Ok(response) => response,
            Err(_) => too_slow(),
        },
    };
    if rule.is_audited {
        let outcome = response.extensions().get::<ProblemCode>().copied();
        let is_bad = !response.status().is_success();
        let outcome = outcome.or_else(|| is_bad.then_some(ProblemCode::Internal));
        match outcome {
            Some(code) => audit(&service, rule, &who, peer.as_ref(), &path, code),
            None => write(
                &service,
                rule,
                &who,
                peer.as_ref(),
                &path,
                "done".to_owned(),
            ),
        }
    }
    response
}

fn too_slow() -> Response {
    let message = format!(
        "the request has not come to its end within {} s",
        ANSWER_TIME.as_secs()
    );
    ApiError(Problem::new(ProblemCode::BadRequest, message).hint("send the whole request at once"))
        .into_response()
}

fn identify(
    service: &Service,
    rule: &Rule,
    request: &Request,
    peer: Option<&Peer>,
) -> Result<Who, Problem> {
    match rule.permission {
        Permission::Anyone => Ok(Who::Nobody),
        Permission::Node => {
            let refused = || {
                Problem::new(
                    ProblemCode::NotAuthenticated,
                    "this path is for runners, with the certificate of their node",
                )
                .hint("join the cluster: 'vfioctl-runner join'")
            };
            let certificate = peer
                .and_then(|peer| peer.certificate.as_ref())
                .ok_or_else(refused)?;
            let node = service
                .cluster
                .mirror
                .read()
                .certificates
                .get(certificate)
                .cloned();
            node.map(Who::Node).ok_or_else(refused)
        }
        Permission::Role(_) => {
            let header = request
                .headers()
                .get(AUTHORIZATION)
                .and_then(|value| value.to_str().ok());
            let token = header.and_then(|header| {
                let (scheme, token) = header.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let token = token.ok_or_else(|| {
                Problem::new(ProblemCode::NotAuthenticated, "the request has no token")
                    .hint("log in with 'vfioctl login', or send 'Authorization: Bearer TOKEN'")
            })?;
            service.cluster.authenticate(token).map(Who::User)
        }
    }
}

fn authorise(rule: &Rule, who: &Who) -> Result<(), Problem> {
    let (Permission::Role(least), Who::User(caller)) = (rule.permission, who) else {
        return Ok(());
    };
    if caller.role >= least {
        return Ok(());
    }
    let message = format!(
        "'{}' is a {}, and this takes {}",
        caller.user,
        caller.role,
        article(least)
    );
    Err(Problem::new(ProblemCode::Forbidden, message).hint("ask an administrator for another role"))
}

fn article(role: Role) -> String {
    let article = match role {
        Role::Operator | Role::Admin => "an",
        Role::Viewer | Role::User => "a",
    };
    format!("{article} {role}")
}

fn audit(
    service: &Service,
    rule: &Rule,
    who: &Who,
    peer: Option<&Peer>,
    path: &str,
    code: ProblemCode,
) {
    if rule.is_audited {
        let name = serde_json::to_value(code)
            .ok()
            .and_then(|code| code.as_str().map(str::to_owned));
        write(service, rule, who, peer, path, name.unwrap_or_default());
    }
}

fn write(
    service: &Service,
    rule: &Rule,
    who: &Who,
    peer: Option<&Peer>,
    path: &str,
    outcome: String,
) {
    let object = path.split('/').nth(3).map(str::to_owned);
    service.audit.write(&AuditLine {
        at: service.cluster.now(),
        who: who.to_string(),
        from: peer.map_or_else(|| "-".to_owned(), |peer| peer.address.ip().to_string()),
        verb: format!("{} {}", rule.method, rule.path),
        object: object.filter(|object| !object.is_empty()),
        outcome,
    });
}

/// The user who asks.
#[derive(Debug)]
pub(crate) struct OfUser(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for OfUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<Who>() {
            Some(Who::User(caller)) => Ok(Self(caller.clone())),
            _ => Err(Problem::new(ProblemCode::NotAuthenticated, "this path is for users").into()),
        }
    }
}

/// The node whose runner asks.
#[derive(Debug)]
pub(crate) struct OfNode(pub(crate) NodeName);

impl<S: Send + Sync> FromRequestParts<S> for OfNode {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<Who>() {
            Some(Who::Node(node)) => Ok(Self(node.clone())),
            _ => {
                Err(Problem::new(ProblemCode::NotAuthenticated, "this path is for runners").into())
            }
        }
    }
}
