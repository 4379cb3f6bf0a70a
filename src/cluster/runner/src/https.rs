//! The link over HTTPS: hosts by their addresses, and both ends known by certificates of the cluster's
//! authority.

use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Body, Certificate, Client, Identity, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vfioctl_api::{
    Enrolled, Enrolment, LogOrder, Problem, ProblemCode, Register, Registered, Sync, SyncReply,
};

use crate::limits::{ANSWER_MARGIN, ANSWER_TIME, CONNECT_TIME, IDLE_CONNECTION, MAX_ANSWER_BYTES};
use crate::link::{Bytes, Link, LinkError};

/// The link over HTTPS.
pub struct HttpsLink {
    client: Client,
    hosts: Vec<String>,
    /// Which of them answered last.
    current: AtomicUsize,
    /// Why the last one did not, so that it is said once.
    said: Mutex<Option<String>>,
}

impl fmt::Debug for HttpsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpsLink({})", self.hosts.join(", "))
    }
}

/// What a node proves who it is with, in PEM.
pub struct Identification {
    /// Its certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The certificate of the cluster's authority.
    pub authority: String,
}

impl fmt::Debug for Identification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.write_str("Identification")
    }
}

impl Identification {
    /// Reads what joining has left in a folder.
    ///
    /// # Errors
    /// What is missing, or cannot be read.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .map_err(|error| format!("cannot read '{}': {error}", path.display()))
        };
        Ok(Self {
            certificate: read("node.pem")?,
            key: read("node.key")?,
            authority: read("authority.pem")?,
        })
    }
}

impl HttpsLink {
    /// A link to any of these hosts.
    ///
    /// # Errors
    /// Where the certificates are none, or there is no host.
    pub fn new(hosts: &[String], own: &Identification) -> Result<Self, String> {
        let hosts = check_hosts(hosts)?;
        let wrong =
            |error: reqwest::Error| format!("the node's certificates are not understood: {error}");
        let identity = Identity::from_pem(format!("{}\n{}", own.certificate, own.key).as_bytes())
            .map_err(wrong)?;
        let client = builder(&own.authority)?
            .identity(identity)
            .build()
            .map_err(wrong)?;
        Ok(Self {
            client,
            hosts,
            current: AtomicUsize::new(0),
            said: Mutex::default(),
        })
    }

    fn host(&self) -> (usize, &str) {
        let index = self.current.load(Ordering::Relaxed);
        (index, self.hosts.get(index).map_or("", String::as_str))
    }

    /// The next request goes to another host.
    fn pass_over(&self, index: usize) {
        let next = (index + 1) % self.hosts.len().max(1);
        // Somebody else may have done so already.
        let _ = self
            .current
            .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn call<A: Serialize + std::marker::Sync, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &A,
        limit: Duration,
    ) -> Result<R, LinkError> {
        let (index, host) = self.host();
        let sent = self
            .client
            .post(format!("{host}/v1/runner/{path}"))
            .timeout(limit)
            .json(body)
            .send()
            .await;
        match read_answer(sent).await {
            Err(LinkError::Unreachable(reason)) => {
                self.pass_over(index);
                let reason = format!("{host}: {reason}");
                *self
                    .said
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(reason.clone());
                Err(LinkError::Unreachable(reason))
            }
            Err(LinkError::Refused(problem)) if problem.code == ProblemCode::StoreUnavailable => {
                // Another host may reach the store.
                self.pass_over(index);
                Err(LinkError::Refused(problem))
            }
            answered => answered,
        }
    }
}

fn check_hosts(hosts: &[String]) -> Result<Vec<String>, String> {
    if hosts.is_empty() {
        return Err("no host is named ('[runner] hosts')".into());
    }
    let check = |host: &String| {
        let host = host.trim_end_matches('/').to_owned();
        match host.starts_with("https://") {
            true => Ok(host),
            false => Err(format!(
                "host '{}' does not begin with 'https://'",
                host.escape_debug()
            )),
        }
    };
    hosts.iter().map(check).collect()
}

/// A client that trusts the cluster's authority and nobody else.
fn builder(authority: &str) -> Result<reqwest::ClientBuilder, String> {
    let authority = Certificate::from_pem(authority.as_bytes())
        .map_err(|error| format!("the authority's certificate is not understood: {error}"))?;
    Ok(Client::builder()
        .tls_certs_only([authority])
        .https_only(true)
        .no_proxy()
        .connect_timeout(CONNECT_TIME)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tcp_nodelay(true)
        .user_agent(concat!("vfioctl-runner/", env!("CARGO_PKG_VERSION"))))
}

async fn read_answer<R: DeserializeOwned>(sent: reqwest::Result<Response>) -> Result<R, LinkError> {
    let unreachable = |error: &dyn std::error::Error| LinkError::Unreachable(chain(error));
    let response = sent.map_err(|error| unreachable(&error))?;
    let status = response.status();
    let text = read_body(response).await?;
    if status.is_success() {
        return serde_json::from_slice(&text).map_err(|error| {
            LinkError::Unreachable(format!("the answer is not understood: {error}"))
        });
    }
    match serde_json::from_slice::<Problem>(&text) {
        Ok(problem) => Err(LinkError::Refused(problem)),
        Err(_) => Err(LinkError::Unreachable(format!("the answer is '{status}'"))),
    }
}

/// The body of an answer, and no more of it than any answer has.
async fn read_body(mut response: Response) -> Result<Vec<u8>, LinkError> {
    let mut text = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| LinkError::Unreachable(chain(&error)))?
    {
        text.extend_from_slice(&piece);
        if text.len() > MAX_ANSWER_BYTES {
            return Err(LinkError::Unreachable("the answer has no end".into()));
        }
    }
    Ok(text)
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[async_trait]
impl Link for HttpsLink {
    async fn register(&self, register: &Register) -> Result<Registered, LinkError> {
        self.call("register", register, ANSWER_TIME).await
    }

    async fn sync(&self, sync: &Sync) -> Result<SyncReply, LinkError> {
        let limit = Duration::from_millis(sync.wait_ms) + ANSWER_MARGIN;
        self.call("sync", sync, limit).await
    }

    async fn send_log(&self, order: &LogOrder, bytes: Bytes) -> Result<(), LinkError> {
        let host =
            check_hosts(std::slice::from_ref(&order.host)).map_err(LinkError::Unreachable)?;
        let host = host.first().map_or("", String::as_str);
        let url = format!("{host}/v1/runner/streams/{}", order.stream);
        let sent = self
            .client
            .post(url)
            .body(Body::wrap_stream(bytes))
            .send()
            .await;
        match sent {
            Ok(response) if response.status().is_success() => Ok(()),
            answered => read_answer::<serde_json::Value>(answered).await.map(drop),
        }
    }
}

/// Joins a cluster: proves by the token that the host is the right one, and gets a certificate.
///
/// # Errors
/// Why it does not join, as a sentence.
pub async fn join(host: &str, token: &str, request: String) -> Result<Enrolled, String> {
    let host = check_hosts(std::slice::from_ref(&host.to_owned()))?
        .pop()
        .unwrap_or_default();
    let (_, fingerprint) = token
        .rsplit_once('.')
        .ok_or("the token is not one of 'vfioctl node invite': it has no fingerprint")?;
    let authority = fetch_authority(&host).await?;
    if crate::digest::certificate_fingerprint(&authority)? != fingerprint {
        return Err(format!(
            "'{host}' is not the cluster that the token is of: its authority has another fingerprint"
        ));
    }
    let client = builder(&authority)?
        .build()
        .map_err(|error| chain(&error))?;
    let enrolment = Enrolment {
        token: token.to_owned(),
        request,
    };
    let sent = client
        .post(format!("{host}/v1/runner/enrol"))
        .timeout(ANSWER_TIME)
        .json(&enrolment)
        .send()
        .await;
    read_answer(sent).await.map_err(|error| match error {
        LinkError::Refused(Problem { message, hint, .. }) => match hint {
            Some(hint) => format!("{message}\n  try: {hint}"),
            None => message,
        },
        LinkError::Unreachable(reason) => format!("{host} does not answer: {reason}"),
    })
}

/// Fetches the authority's certificate from whoever says to have it: what it is worth is told by its
/// fingerprint, and nothing is sent.
async fn fetch_authority(host: &str) -> Result<String, String> {
    let client = Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .https_only(true)
        .no_proxy()
        .connect_timeout(CONNECT_TIME)
        .build()
        .map_err(|error| chain(&error))?;
    let sent = client
        .get(format!("{host}/v1/authority"))
        .timeout(ANSWER_TIME)
        .send()
        .await;
    let response = sent.map_err(|error| format!("{host} does not answer: {}", chain(&error)))?;
    let text = read_body(response)
        .await
        .map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|_| format!("'{host}' does not answer like a vfioctl-host"))
}
