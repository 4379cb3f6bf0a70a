//! HTTPS to one host, which is trusted by its cluster's authority and by nothing else.
//!
//! No proxy is asked and no redirect followed: a token goes to the host that it is for.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response, header};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, AsSendBody, Body};
use vfioctl_api::{ProblemCode, VERSION, Version};

use super::access::{Access, Token};
use super::authority::Authority;
use super::host_error::{HostError, HostErrorKind, HostProblem};
use super::host_url::HostUrl;
use super::presented::read_presented;
use crate::limits;

/// A way to a host. Nothing is connected before something is asked.
pub(super) struct Connection {
    access: Access,
    calls: Agent,
    streams: Agent,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Until the connection stands.
    connect: Duration,
    /// Until the head of the answer is there.
    answer: Duration,
    /// Until all of it is, from the beginning.
    whole: Option<Duration>,
    /// Between two pieces of it.
    silence: Duration,
}

impl Times {
    /// Those of a question and its answer.
    pub(crate) const CALL: Self = Self {
        connect: limits::CONNECT,
        answer: limits::ANSWER,
        whole: Some(limits::CALL),
        silence: limits::ANSWER,
    };
    /// Those of an answer that goes on for as long as somebody reads.
    const STREAM: Self = Self {
        connect: limits::CONNECT,
        answer: limits::ANSWER,
        whole: None,
        silence: limits::SILENCE,
    };
    /// Those of a shell that waits for completions.
    pub(crate) const COMPLETION: Self = Self {
        connect: limits::COMPLETION,
        answer: limits::COMPLETION,
        whole: Some(limits::COMPLETION),
        silence: limits::COMPLETION,
    };
}

/// A question to a host.
struct Question<'q> {
    method: Method,
    /// Behind the version.
    path: &'q str,
    body: Option<Vec<u8>>,
    accept: &'static str,
}

/// Why something was not done, as it lies in the answer; its code may be one that this command does
/// not know.
#[derive(Deserialize)]
struct ProblemText {
    code: String,
    message: String,
    #[serde(default)]
    hint: Option<String>,
}

impl<'q> Question<'q> {
    fn new(method: Method, path: &'q str, body: Option<Vec<u8>>) -> Self {
        Self {
            method,
            path,
            body,
            accept: "application/json",
        }
    }
}

impl Connection {
    /// Takes what it needs; asks nothing yet.
    pub(super) fn new(access: Access, times: Times) -> Self {
        let roots = RootCerts::new_with_certs(access.authority.certificates());
        let tls = || tls().root_certs(roots.clone()).build();
        Self {
            calls: agent(tls(), times),
            streams: agent(tls(), Times::STREAM),
            access,
        }
    }

    /// Which cluster it leads to.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Asks something whose answer is JSON.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, HostError> {
        let response = self.send(&self.calls, Question::new(method, path, body))?;
        let text = self.read_body(response)?;
        serde_json::from_slice(&text).map_err(|error| {
            self.not_understood(format!("the answer to {path} is another one: {error}"))
        })
    }

    /// Asks for something to be done that has no answer.
    pub(super) fn order(&self, method: Method, path: &str) -> Result<(), HostError> {
        self.send(&self.calls, Question::new(method, path, None))
            .map(drop)
    }

    /// Asks for what comes piece by piece.
    pub(super) fn stream(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Response<Body>, HostError> {
        let question = Question {
            accept,
            ..Question::new(Method::GET, path, None)
        };
        self.send(&self.streams, question)
    }

    /// The error of a read in an answer that comes piece by piece.
    pub(super) fn error_of_read(&self, error: std::io::Error) -> HostError {
        self.failed(error.into())
    }

    /// What was answered is not understood.
    pub(super) fn not_understood(&self, because: String) -> HostError {
        let theirs = self.read_version();
        self.error(HostErrorKind::NotUnderstood { because, theirs })
    }

    fn send(&self, agent: &Agent, question: Question<'_>) -> Result<Response<Body>, HostError> {
        let path = question.path;
        let response = self.try_send(agent, question)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = self.read_body(response)?;
        Err(match serde_json::from_slice::<ProblemText>(&text) {
            Ok(problem) => self.problem(problem),
            Err(_) => self.not_understood(format!(
                "the answer to {path} has status {status} and no reason"
            )),
        })
    }

    fn try_send(&self, agent: &Agent, question: Question<'_>) -> Result<Response<Body>, HostError> {
        let Question {
            method,
            path,
            body,
            accept,
        } = question;
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("{}/{VERSION}/{path}", self.access.host))
            .header(header::ACCEPT, accept)
            .header(header::AUTHORIZATION, bearer(&self.access.token));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        // A POST has a body, if only an empty one (RFC 9110, section 8.6).
        let body = body.or_else(|| (method == Method::POST).then(Vec::new));
        let sent = match body {
            Some(body) => run(agent, request.body(body)),
            None => run(agent, request.body(())),
        };
        sent.map_err(|error| self.failed(error))
    }

    fn read_body(&self, response: Response<Body>) -> Result<Vec<u8>, HostError> {
        let mut text = Vec::new();
        let mut reader = response
            .into_body()
            .into_reader()
            .take(limits::ANSWER_BYTES + 1);
        reader
            .read_to_end(&mut text)
            .map_err(|error| self.error_of_read(error))?;
        if u64::try_from(text.len()).is_ok_and(|len| len > limits::ANSWER_BYTES) {
            let because = format!("the answer is longer than {} bytes", limits::ANSWER_BYTES);
            return Err(self.error(HostErrorKind::NotUnderstood {
                because,
                theirs: None,
            }));
        }
        Ok(text)
    }

    fn problem(&self, text: ProblemText) -> HostError {
        let code = serde_json::from_value(text.code.clone().into()).ok();
        // What an older or newer host does not know is a bad request to it, or nothing at all.
        let is_doubtful = matches!(
            code,
            None | Some(ProblemCode::BadRequest | ProblemCode::NotFound)
        );
        let own = env!("CARGO_PKG_VERSION");
        let theirs = is_doubtful.then(|| self.read_version()).flatten();
        self.error(HostErrorKind::Problem(HostProblem {
            code,
            name: text.code,
            message: text.message,
            hint: text.hint,
            theirs: theirs.filter(|theirs| theirs.version != own),
        }))
    }

    /// The host's version; none where it does not tell: another failure is being told then.
    fn read_version(&self) -> Option<Version> {
        let answer = self.try_send(&self.calls, Question::new(Method::GET, "version", None));
        let response = answer
            .ok()
            .filter(|response| response.status().is_success())?;
        serde_json::from_slice(&self.read_body(response).ok()?).ok()
    }

    fn failed(&self, error: ureq::Error) -> HostError {
        let trusted = self.access.authority.fingerprint();
        let mut kind = HostErrorKind::of_transport(error, Some(trusted));
        if let HostErrorKind::NotTrusted(distrust) = &mut kind {
            distrust.presented = read_presented(&self.access.host, provider());
        }
        self.error(kind)
    }

    fn error(&self, kind: HostErrorKind) -> HostError {
        HostError {
            host: self.access.host.clone(),
            file: self.access.file.clone(),
            kind: Box::new(kind),
        }
    }
}

/// Asks a host for the certificate of its authority. Whoever answers may be anybody: what comes is
/// to be held against a fingerprint that was told by another way.
pub(crate) fn read_authority_unproved(host: &HostUrl) -> Result<Authority, HostError> {
    let error = |kind| HostError {
        host: host.clone(),
        file: None,
        kind: Box::new(kind),
    };
    let failed = |failure| error(HostErrorKind::of_transport(failure, None));
    let agent = agent(tls().disable_verification(true).build(), Times::CALL);
    let request = Request::get(format!("{host}/{VERSION}/authority")).body(());
    let response = run(&agent, request).map_err(failed)?;
    let not_understood = |because: &str| {
        error(HostErrorKind::NotUnderstood {
            because: because.to_owned(),
            theirs: None,
        })
    };
    if !response.status().is_success() {
        return Err(not_understood("it has no certificate of an authority"));
    }
    let mut text = String::new();
    let mut reader = response
        .into_body()
        .into_reader()
        .take(limits::CLUSTER_FILE);
    reader
        .read_to_string(&mut text)
        .map_err(|error| failed(error.into()))?;
    text.parse()
        .map_err(|_| not_understood("what it tells as its authority is no certificate"))
}

fn run(
    agent: &Agent,
    request: Result<Request<impl AsSendBody>, ureq::http::Error>,
) -> Result<Response<Body>, ureq::Error> {
    agent.run(request?)
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.secret())
}

fn tls() -> ureq::tls::TlsConfigBuilder {
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn agent(tls: TlsConfig, times: Times) -> Agent {
    Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("vfioctl/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(times.connect))
        .timeout_recv_response(Some(times.answer))
        .timeout_global(times.whole)
        .timeout_per_read(Some(times.silence))
        .timeout_per_write(Some(times.silence))
        .build()
        .into()
}
