//! Claims: the helper keeps the one list of who has a GPU, and what containers use is on it
//! (`io.vfioctl.Container`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vfioctl_api::Holder;
use vfioctl_protocol::{Client, ClientError, container, device};

use crate::limits::CLAIM_TIME;

/// How the names of this project's containers begin.
pub(super) const PREFIX: &str = Holder::CONTAINER_PREFIX;

/// What a container claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The container's name.
    pub(super) name: String,
    /// The functions.
    pub(super) addresses: Vec<String>,
    /// Whether nobody else may use them.
    pub(super) is_exclusive: bool,
    /// Whom it runs for.
    pub(super) user: String,
}

/// Why there is no claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimError {
    /// As a sentence: in the helper's words where it said no.
    pub(super) reason: String,
    /// Whether it may have been made all the same: the helper was asked, and nobody heard the answer.
    pub(super) may_stand: bool,
}

/// The helper, as one who claims sees it.
#[derive(Debug, Clone)]
pub(super) struct Helper {
    socket: PathBuf,
}

impl Helper {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Whether there is none on this node at all: its folder is made at boot, and is there as long as it
    /// is installed, whether it answers or not.
    fn is_installed(&self) -> bool {
        self.socket.exists() || self.socket.parent().is_some_and(Path::exists)
    }

    /// Claims functions. Where no helper is installed, nobody can take them away by it, and there is
    /// nothing to claim.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub(super) async fn claim(&self, claim: Claim) -> Result<(), ClaimError> {
        if !self.is_installed() {
            return Ok(());
        }
        let arguments = container::Claim_Args {
            name: claim.name,
            addresses: claim.addresses,
            exclusive: Some(claim.is_exclusive),
            user: Some(claim.user),
        };
        let done = self
            .call::<Value>("io.vfioctl.Container.Claim", arguments)
            .await;
        done.map(|_| ()).map_err(|error| ClaimError {
            may_stand: !matches!(
                error,
                ClientError::Remote(_) | ClientError::NotRunning(_) | ClientError::NotPermitted(_)
            ),
            reason: match &error {
                ClientError::Remote(remote) => remote.sentence(),
                error => format!(
                    "GPUs are given out by the helper only, and it cannot be asked: {error}"
                ),
            },
        })
    }

    /// Ends a claim; one that is not there has ended.
    ///
    /// # Errors
    /// Where it stands still.
    pub(super) async fn end(&self, name: &str) -> Result<(), String> {
        if !self.is_installed() {
            return Ok(());
        }
        let arguments = container::End_Args {
            name: name.to_owned(),
        };
        match self
            .call::<Value>("io.vfioctl.Container.End", arguments)
            .await
        {
            Ok(_) => Ok(()),
            Err(ClientError::Remote(remote))
                if remote.name == "io.vfioctl.Container.NoSuchContainer" =>
            {
                Ok(())
            }
            Err(error) => Err(format!(
                "the claim of container '{name}' cannot be ended: {error}"
            )),
        }
    }

    /// The names of this user's claims that this project's containers have.
    ///
    /// # Errors
    /// Where the helper cannot be asked.
    pub(super) async fn list(&self) -> Result<BTreeSet<String>, String> {
        if !self.is_installed() {
            return Ok(BTreeSet::new());
        }
        let listed = self
            .call::<device::ListClaims_Reply>("io.vfioctl.Device.ListClaims", serde_json::json!({}))
            .await;
        let listed = listed.map_err(|error| format!("claims cannot be listed: {error}"))?;
        let own = i64::from(rustix::process::geteuid().as_raw());
        let owners = listed.claims.into_iter().map(|claim| claim.owner);
        let names = owners
            .filter(|owner| owner.uid == own)
            .filter_map(|owner| owner.container.map(|container| container.name));
        Ok(names.filter(|name| name.starts_with(PREFIX)).collect())
    }

    async fn call<R: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        arguments: impl serde::Serialize + Send + 'static,
    ) -> Result<R, ClientError> {
        let socket = self.socket.clone();
        let call = move || Client::connect(&socket)?.call(method, arguments, CLAIM_TIME);
        match tokio::task::spawn_blocking(call).await {
            Ok(done) => done,
            Err(error) => Err(ClientError::Malformed(error.to_string())),
        }
    }
}
