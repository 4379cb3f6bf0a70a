//! What is seen of the machine: through the helper, which knows who has what, or with the runner's own
//! eyes.

use std::path::Path;

use serde_json::json;
use vfioctl_core::Snapshot;
use vfioctl_core::claim::{Claim, Owner};
use vfioctl_protocol::wire::{WireError, claim_from_wire, snapshot_from_wire};
use vfioctl_protocol::{ClientError, NoHelper, connect_greeted, device, inventory};
use vfioctl_scan::{HostView, SysRoot, read_snapshot};

use crate::limits::{HELPER_GREETING, HELPER_LOOK};

/// What is seen of the machine.
#[derive(Debug)]
pub(super) struct Seen {
    /// The PCI machine.
    pub(super) snapshot: Snapshot,
    /// Who has what.
    ///
    /// # Errors
    /// Why that is not known, as a sentence.
    pub(super) claims: Result<Vec<SeenClaim>, String>,
}

/// A claim, and what its owner is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenClaim {
    /// The claim.
    pub(super) claim: Claim,
    /// The owner's name, where it has one.
    pub(super) user: Option<String>,
}

/// Looks at the machine.
///
/// # Errors
/// Where not even the list of PCI functions can be read, as a sentence.
pub(super) fn read_seen(root: &SysRoot, helper: &Path) -> Result<Seen, String> {
    match ask(helper) {
        Ok(seen) => Ok(seen),
        Err(because) => {
            let snapshot = read_snapshot(root, HostView::BestEffort);
            Ok(Seen {
                snapshot: snapshot.map_err(|error| sentence(&error))?,
                claims: Err(format!("the helper does not answer: {because}")),
            })
        }
    }
}

fn ask(socket: &Path) -> Result<Seen, String> {
    let (mut client, _) =
        connect_greeted(socket, HELPER_GREETING).map_err(|error| match &error {
            // The rest of the message would repeat that it does not answer.
            NoHelper::Unanswered(ClientError::NotRunning(socket)) => {
                format!("nothing listens on '{}'", socket.display())
            }
            _ => sentence(&error),
        })?;
    let described: inventory::Describe_Reply = client
        .call("io.vfioctl.Inventory.Describe", json!({}), HELPER_LOOK)
        .map_err(|error| sentence(&error))?;
    let listed: device::ListClaims_Reply = client
        .call("io.vfioctl.Device.ListClaims", json!({}), HELPER_LOOK)
        .map_err(|error| sentence(&error))?;
    let claims: Result<Vec<SeenClaim>, WireError> =
        listed.claims.iter().map(SeenClaim::from_wire).collect();
    Ok(Seen {
        snapshot: snapshot_from_wire(&described).map_err(|error| sentence(&error))?,
        claims: Ok(claims.map_err(|error| sentence(&error))?),
    })
}

/// An error with all its causes, on one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl SeenClaim {
    fn from_wire(claim: &device::Claim) -> Result<Self, WireError> {
        Ok(Self {
            claim: claim_from_wire(claim)?,
            user: claim.owner.user.clone(),
        })
    }
}

impl Seen {
    /// All claims that are known.
    pub(super) fn known_claims(&self) -> impl Iterator<Item = &SeenClaim> + Clone {
        self.claims.iter().flatten()
    }

    /// An owner in words, as the helper calls it.
    pub(super) fn describe_owner(&self, owner: &Owner) -> String {
        let same_user = |seen: &&SeenClaim| seen.claim.owner.uid == owner.uid;
        let user = self
            .known_claims()
            .find(same_user)
            .and_then(|seen| seen.user.as_deref());
        owner.described(user)
    }
}
