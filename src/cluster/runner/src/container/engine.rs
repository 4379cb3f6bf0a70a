//! The engine: Docker or Podman, by the Docker Engine API over its socket
//! (<https://docs.docker.com/reference/api/engine/>; `podman-system-service(1)`).
//!
//! Both answer the same calls, not always in the same way: what this runner goes by is in [`Facts`].
//! A connection is made anew for whatever comes, so an engine that was restarted is simply there again.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as BollardError;
use bollard::models::{ContainerInspectResponse, SystemInfo, SystemVersion};
use vfioctl_scan::SysRoot;

use super::request::{self, Listed};
use crate::limits::ENGINE_TIME;

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineKind {
    /// Docker, or what passes for it.
    Docker,
    /// Podman, whose Docker API leaves requests for devices out without a word.
    Podman,
}

/// What is known of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kind: EngineKind,
    pub(super) version: String,
    /// The highest version of the API that it speaks.
    pub(super) api: (u32, u32),
    /// Its OCI runtimes.
    pub(super) runtimes: BTreeSet<String>,
    /// Where it looks for CDI specifications; empty where it knows none.
    pub(super) cdi_folders: Vec<PathBuf>,
    /// Whether it has a program to be the first process of a container.
    pub(super) has_init: bool,
}

/// Why the engine did not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EngineError {
    /// It cannot be asked; whether it heard is not known.
    Unreachable(String),
    /// It says no, with a status of HTTP.
    Refused { status: u16, message: String },
}

impl EngineError {
    /// Whether what was named is not there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether it is as was asked for already, or something else has the name.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => {
                write!(f, "the container engine cannot be asked: {reason}")
            }
            Self::Refused { message, .. } => {
                write!(f, "the container engine says: {}", one_line(message))
            }
        }
    }
}

impl std::error::Error for EngineError {}

/// What an engine said, on one line of a length that people read.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 600;
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

impl From<BollardError> for EngineError {
    fn from(error: BollardError) -> Self {
        match error {
            BollardError::DockerResponseServerError {
                status_code,
                message,
            } => Self::Refused {
                status: status_code,
                message,
            },
            BollardError::DockerStreamError { error } => Self::Refused {
                status: 500,
                message: error,
            },
            BollardError::DockerContainerWaitError { error, .. } => Self::Refused {
                status: 500,
                message: error,
            },
            BollardError::RequestTimeoutError => {
                Self::Unreachable("it does not answer in time".into())
            }
            other => Self::Unreachable(one_line(&other.to_string())),
        }
    }
}

/// Finds the engine, and asks it.
#[derive(Debug)]
pub(super) struct Connector {
    /// The socket that is named; where none is, those are tried that engines use.
    configured: Option<PathBuf>,
    /// Where an engine looks for CDI specifications that does not say so.
    cdi_folders: Vec<PathBuf>,
    client: Mutex<Option<(PathBuf, Docker)>>,
}

impl Connector {
    pub(super) fn new(configured: Option<PathBuf>, cdi_folders: Vec<PathBuf>) -> Self {
        Self {
            configured,
            cdi_folders,
            client: Mutex::default(),
        }
    }

    /// The engine's socket.
    ///
    /// # Errors
    /// Where there is none, as a sentence with what to do.
    pub(super) fn socket(&self) -> Result<PathBuf, String> {
        if let Some(path) = &self.configured {
            return Ok(path.clone());
        }
        let variable = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        find_socket(
            variable("DOCKER_HOST").as_deref(),
            variable("XDG_RUNTIME_DIR").as_deref(),
            is_socket,
        )
    }

    /// A client that speaks the engine's version of the API.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub(super) async fn client(&self) -> Result<Docker, EngineError> {
        let socket = self.socket().map_err(EngineError::Unreachable)?;
        if let Some((of, client)) = &*self.lock()
            && *of == socket
        {
            return Ok(client.clone());
        }
        let client = connect(&socket).await?;
        let client = limited(ENGINE_TIME, client.negotiate_version()).await?;
        *self.lock() = Some((socket, client.clone()));
        Ok(client)
    }

    /// What there is of a container; none where there is none.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub(super) async fn inspect(
        &self,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let (socket, api) = self.place().await?;
        request::inspect_container(&socket, api, name).await
    }

    /// The containers that have a label, whatever they do.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub(super) async fn list(&self, label: &str, value: &str) -> Result<Vec<Listed>, EngineError> {
        let (socket, api) = self.place().await?;
        request::list_containers(&socket, api, label, value).await
    }

    /// The socket, and the version of the API that is spoken there.
    async fn place(&self) -> Result<(PathBuf, (usize, usize)), EngineError> {
        let version = self.client().await?.client_version();
        let socket = self.socket().map_err(EngineError::Unreachable)?;
        Ok((socket, (version.major_version, version.minor_version)))
    }

    /// What the engine is now.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub(super) async fn facts(&self) -> Result<Facts, EngineError> {
        let asked = async {
            let client = self.client().await?;
            let version = limited(ENGINE_TIME, client.version()).await?;
            let info = limited(ENGINE_TIME, client.info()).await?;
            Ok(Facts::of(&version, &info, &self.cdi_folders))
        };
        let facts = asked.await;
        if facts.is_err() {
            // Another engine may be there the next time, of another version.
            *self.lock() = None;
        }
        facts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(PathBuf, Docker)>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the engine something, and waits no longer than this.
///
/// # Errors
/// [`EngineError`].
pub(super) async fn limited<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, BollardError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, call).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(EngineError::Unreachable(format!(
            "it has not answered within {} s",
            limit.as_secs()
        ))),
    }
}

/// The same, where it is nothing wrong that what is named is not there.
///
/// # Errors
/// [`EngineError`].
pub(super) async fn limited_if_there<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, BollardError>>,
) -> Result<Option<T>, EngineError> {
    match limited(limit, call).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn connect(socket: &Path) -> Result<Docker, EngineError> {
    // The client's own errors do not tell what an administrator has to know.
    if let Err(error) = tokio::net::UnixStream::connect(socket).await {
        return Err(EngineError::Unreachable(why_not(socket, &error)));
    }
    let version = bollard::API_DEFAULT_VERSION;
    Docker::connect_with_unix(&socket.to_string_lossy(), ENGINE_TIME.as_secs(), version)
        .map(|client| client.with_timeout(crate::limits::IMAGE_SILENCE))
        .map_err(EngineError::from)
}

/// Why a socket cannot be used, and what to do.
fn why_not(socket: &Path, error: &std::io::Error) -> String {
    let shown = socket.display();
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            let group = group_of(socket).unwrap_or_else(|| "docker".into());
            format!(
                "the runner may not use '{shown}': add its user to the group '{group}' ('usermod -aG {group} \
                 vfioctl-runner') and restart it"
            )
        }
        std::io::ErrorKind::NotFound => {
            format!(
                "there is no '{shown}': install and start Docker or Podman, or name its socket in \
                     '[runner.containers] socket'"
            )
        }
        std::io::ErrorKind::ConnectionRefused => {
            format!(
                "nothing listens on '{shown}': start the engine ('systemctl start docker' or 'podman.socket')"
            )
        }
        _ => format!("'{shown}': {error}"),
    }
}

/// The name of the group that a socket is of.
fn group_of(socket: &Path) -> Option<String> {
    let gid = std::fs::symlink_metadata(socket).ok()?.gid();
    let text = SysRoot::live().ok()?.etc.read_text("group").ok()??;
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = fields
        .into_iter()
        .find_map(|fields| match fields.as_slice() {
            [name, _, number, ..] if number.parse() == Ok(gid) => Some((*name).to_owned()),
            _ => None,
        });
    name.filter(|_| gid != 0)
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// The first socket that is there.
fn find_socket(
    docker_host: Option<&str>,
    runtime_folder: Option<&str>,
    is_there: impl Fn(&Path) -> bool,
) -> Result<PathBuf, String> {
    if let Some(host) = docker_host {
        return match host.strip_prefix("unix://") {
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(format!(
                "DOCKER_HOST is '{}', and an engine is used through a socket of this machine only: name that in \
                 '[runner.containers] socket'",
                host.escape_debug()
            )),
        };
    }
    let own = |name: &str| runtime_folder.map(|folder| Path::new(folder).join(name));
    let candidates = [
        Some(PathBuf::from("/run/docker.sock")),
        own("docker.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
        own("podman/podman.sock"),
    ];
    let mut candidates = candidates.into_iter().flatten();
    candidates.find(|path| is_there(path)).ok_or_else(|| {
        "there is no container engine: install and start Docker ('apt install docker.io') or Podman ('systemctl \
         enable --now podman.socket'), or name its socket in '[runner.containers] socket'"
            .into()
    })
}

impl Facts {
    fn of(version: &SystemVersion, info: &SystemInfo, cdi_folders: &[PathBuf]) -> Self {
        let components = version.components.as_deref().unwrap_or_default();
        let is_podman = components
            .iter()
            .any(|component| component.name.starts_with("Podman"));
        let kind = if is_podman {
            EngineKind::Podman
        } else {
            EngineKind::Docker
        };
        let init = info
            .init_commit
            .as_ref()
            .and_then(|commit| commit.id.as_deref());
        Self {
            kind,
            version: version.version.clone().unwrap_or_default(),
            api: parse_api(version.api_version.as_deref().unwrap_or_default()),
            runtimes: info
                .runtimes
                .iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect(),
            cdi_folders: match kind {
                EngineKind::Docker => info
                    .cdi_spec_dirs
                    .iter()
                    .flatten()
                    .map(PathBuf::from)
                    .collect(),
                EngineKind::Podman => cdi_folders.to_vec(),
            },
            // Docker says 'N/A' for one that is not installed. Podman says nothing, and refuses.
            has_init: is_podman || init.is_some_and(|id| !id.is_empty() && id != "N/A"),
        }
    }

    /// Its name, as it is reported.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            EngineKind::Docker => "docker",
            EngineKind::Podman => "podman",
        }
    }
}

fn parse_api(text: &str) -> (u32, u32) {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_looked_for_in_their_order() {
        let find = |host, folder, there: &[&str]| {
            find_socket(host, folder, |path| {
                there.iter().any(|one| Path::new(one) == path)
            })
            .map(|path| path.to_string_lossy().into_owned())
        };
        let all = [
            "/run/docker.sock",
            "/u/docker.sock",
            "/run/podman/podman.sock",
            "/u/podman/podman.sock",
        ];
        for first in 0..all.len() {
            let there = all.get(first..).unwrap_or_default();
            assert_eq!(find(None, Some("/u"), there), Ok(all[first].to_owned()));
        }
        assert_eq!(find(Some("unix:///x"), None, &all), Ok("/x".to_owned()));
        assert!(
            find(Some("tcp://h:1"), None, &all).is_err(),
            "not over a network"
        );
        assert!(find(None, None, &all[1..2]).is_err());
    }

    #[test]
    fn what_an_engine_says_is_one_line() {
        let error = EngineError::Refused {
            status: 500,
            message: "a\n\tb \u{1b}[2J".into(),
        };
        assert_eq!(error.to_string(), "the container engine says: a b [2J");
        let long = EngineError::Refused {
            status: 500,
            message: "ä".repeat(5000),
        };
        assert!(long.to_string().len() < 1300);
    }
}
