//! Records of claims.

use serde::Serialize;
use vfioctl_protocol::{device, wire};

use crate::seen::{SeenClaim, SeenPin};

/// Who has a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct OwnerRecord {
    /// Number of the user.
    pub(crate) uid: i64,
    /// Name of the user, where there is one.
    pub(crate) user: Option<String>,
    /// Name of the machine that has it; null where a person or a container has it.
    pub(crate) machine: Option<String>,
    /// The container that uses it; null where a person or a machine has it.
    pub(crate) container: Option<ContainerRecord>,
}

/// A container that uses a device with the device's own driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ContainerRecord {
    /// Its name.
    pub(crate) name: String,
    /// Whether it has the device for itself.
    pub(crate) exclusive: bool,
    /// Whom it runs for, as its runner says.
    pub(crate) user: Option<String>,
}

/// That someone has some functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ClaimRecord {
    /// Who.
    pub(crate) owner: OwnerRecord,
    /// Addresses of the functions.
    pub(crate) addresses: Vec<String>,
    /// Since when, in seconds since 1970.
    pub(crate) since: u64,
}

/// That some functions stay bound over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PinRecord {
    /// For whom.
    pub(crate) owner: OwnerRecord,
    /// Addresses of the functions.
    pub(crate) addresses: Vec<String>,
    /// What they are, as `lspci -n` prints it: vendor and device ID.
    pub(crate) ids: Vec<String>,
    /// Since when, in seconds since 1970.
    pub(crate) since: u64,
    /// Why the pin does not hold its device now; null where it does.
    pub(crate) problem: Option<String>,
}

impl PinRecord {
    /// A pin.
    pub(crate) fn of(seen: &SeenPin) -> Self {
        let originals = seen.pin.originals.iter();
        let owner = OwnerRecord {
            uid: seen.pin.uid.into(),
            user: seen.user.clone(),
            machine: None,
            container: None,
        };
        Self {
            owner,
            addresses: originals.clone().map(|o| o.address.to_string()).collect(),
            ids: originals.map(|o| o.identity.to_string()).collect(),
            since: seen.pin.since,
            problem: seen.problem.clone(),
        }
    }
}

impl OwnerRecord {
    /// The owner of a claim.
    pub(crate) fn of(seen: &SeenClaim) -> Self {
        wire::owner(&seen.claim.owner, seen.user.clone()).into()
    }

    /// The owner as people call them.
    pub(crate) fn text(&self) -> String {
        let user = self
            .user
            .clone()
            .unwrap_or_else(|| format!("user {}", self.uid));
        match (&self.machine, &self.container) {
            (None, None) => user,
            (Some(machine), _) => format!("machine '{machine}' of {user}"),
            (None, Some(container)) => {
                let label = container.user.iter();
                let runs_for: String = label.map(|label| format!(" for '{label}'")).collect();
                format!("container '{}' of {user}{runs_for}", container.name)
            }
        }
    }
}

impl From<device::Owner> for OwnerRecord {
    fn from(owner: device::Owner) -> Self {
        let container = owner.container.map(|container| ContainerRecord {
            name: container.name,
            exclusive: container.exclusive,
            user: container.user,
        });
        Self {
            uid: owner.uid,
            user: owner.user,
            machine: owner.machine,
            container,
        }
    }
}

impl ClaimRecord {
    /// A claim.
    pub(crate) fn of(seen: &SeenClaim) -> Self {
        let originals = seen.claim.originals.iter();
        Self {
            owner: OwnerRecord::of(seen),
            addresses: originals
                .map(|original| original.address.to_string())
                .collect(),
            since: seen.claim.since,
        }
    }
}
