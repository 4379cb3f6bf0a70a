//! What is seen of the machine: through the helper, or with this user's own eyes.

use std::cell::OnceCell;

use serde::Serialize;
use vfioctl_core::claim::{Claim, Owner};
use vfioctl_core::iommu::GroupIndex;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::pin::Pin;
use vfioctl_core::{Answer, Snapshot};
use vfioctl_protocol::device;
use vfioctl_protocol::wire::{WireError, claim_from_wire, pin_from_wire};
use vfioctl_scan::read_snapshot;

use crate::failure::{Failure, FailureKind};
use crate::helper::Helper;
use crate::session::Session;

/// A claim, and what its owner is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenClaim {
    /// The claim.
    pub(crate) claim: Claim,
    /// The owner's name, where `/etc/passwd` has one.
    pub(crate) user: Option<String>,
}

/// A pin, what its user is called, and why it is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenPin {
    /// The pin.
    pub(crate) pin: Pin,
    /// The user's name, where `/etc/passwd` has one.
    pub(crate) user: Option<String>,
    /// Why it does not hold its device now.
    pub(crate) problem: Option<String>,
}

/// Whose eyes the machine was seen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SeenBy {
    /// The helper's, which sees everything.
    Helper,
    /// This user's own.
    User,
}

/// What is seen of the machine.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The PCI machine.
    pub(crate) snapshot: Snapshot,
    /// Who has what.
    pub(crate) claims: Answer<Vec<SeenClaim>>,
    /// Which devices stay bound over restarts.
    pub(crate) pins: Answer<Vec<SeenPin>>,
    /// Whose eyes it was.
    pub(crate) by: SeenBy,
    /// Number of this user.
    pub(crate) uid: u32,
    /// The members of each group, once they have been asked for.
    pub(crate) index: OnceCell<GroupIndex>,
}

impl SeenClaim {
    /// Takes a claim from the wire.
    ///
    /// # Errors
    /// A field that is not what it should be.
    pub(crate) fn from_wire(claim: &device::Claim) -> Result<Self, WireError> {
        Ok(Self {
            claim: claim_from_wire(claim)?,
            user: claim.owner.user.clone(),
        })
    }

    /// The owner, as people call them: `alice`, `machine 'win' of alice`.
    pub(crate) fn owner_text(&self) -> String {
        owner_text(&self.claim.owner, self.user.as_deref())
    }

    /// Whether it is this user's own, as a person.
    pub(crate) fn is_of_person(&self, uid: u32) -> bool {
        self.claim.owner == Owner::person(uid)
    }
}

impl SeenPin {
    /// Takes a pin from the wire.
    ///
    /// # Errors
    /// A field that is not what it should be.
    pub(crate) fn from_wire(pin: &device::Pin) -> Result<Self, WireError> {
        Ok(Self {
            pin: pin_from_wire(pin)?,
            user: pin.owner.user.clone(),
            problem: pin.problem.clone(),
        })
    }
}

fn owner_text(owner: &Owner, user: Option<&str>) -> String {
    user.map_or_else(|| owner.to_string(), |user| owner.called(user))
}

impl Seen {
    /// The members of each group.
    pub(crate) fn index(&self) -> &GroupIndex {
        self.index.get_or_init(|| GroupIndex::of(&self.snapshot))
    }

    /// The claim that holds a function, where claims can be seen; the first one, where containers
    /// share it.
    pub(crate) fn claim_of(&self, address: PciAddress) -> Option<&SeenClaim> {
        self.claims
            .as_ref()
            .known()?
            .iter()
            .find(|seen| seen.claim.holds(address))
    }

    /// The claims of the containers that use a function; `None` where claims cannot be seen.
    pub(crate) fn containers_at(&self, address: PciAddress) -> Option<Vec<&SeenClaim>> {
        let claims = self.claims.as_ref().known()?.iter();
        let uses =
            |seen: &&SeenClaim| seen.claim.owner.container().is_some() && seen.claim.holds(address);
        Some(claims.filter(uses).collect())
    }

    /// The pins of whatever sits, or sat, at the address; `None` where pins cannot be seen.
    pub(crate) fn pins_at(&self, address: PciAddress) -> Option<Vec<&SeenPin>> {
        let pins = self.pins.as_ref().known()?.iter();
        Some(pins.filter(|seen| seen.pin.holds(address)).collect())
    }

    /// Whether the very function at the address is pinned; `None` where that cannot be seen.
    pub(crate) fn is_pinned(&self, address: PciAddress) -> Option<bool> {
        let identity = self.snapshot.function(address)?.identity;
        let mut pins = self.pins.as_ref().known()?.iter();
        Some(pins.any(|seen| seen.pin.is_of(address, identity)))
    }

    /// All claims that can be seen.
    pub(crate) fn known_claims(&self) -> impl Iterator<Item = &Claim> + Clone {
        self.claims
            .as_ref()
            .known()
            .into_iter()
            .flatten()
            .map(|seen| &seen.claim)
    }
}

/// Asks the helper; where it cannot be reached, looks with this user's own eyes and says what
/// cannot be seen so.
///
/// # Errors
/// Where the helper is too old or answers with an error, or not even `/sys` can be read.
pub(crate) fn read_seen(session: &mut Session<'_>) -> Result<Seen, Failure> {
    match ask_helper(session) {
        Ok(seen) => Ok(seen),
        Err(failure) if failure.kind() == FailureKind::Unreachable => {
            let seen = look(session)?;
            let note = failure.text_under(heading(&seen.snapshot));
            session.output.say(&note);
            Ok(seen)
        }
        Err(failure) => Err(failure),
    }
}

/// Asks the helper only.
///
/// # Errors
/// Where it cannot be reached, is too old, or answers with an error.
pub(crate) fn ask_helper(session: &Session<'_>) -> Result<Seen, Failure> {
    ask(session.helper()?, session)
}

/// Asks a helper that has greeted.
///
/// # Errors
/// Where it answers with an error, or no more.
pub(crate) fn ask(mut helper: Helper, session: &Session<'_>) -> Result<Seen, Failure> {
    let snapshot = helper.describe().map_err(|error| session.failure(&error))?;
    let (claims, pins) = helper.claims().map_err(|error| session.failure(&error))?;
    Ok(Seen {
        snapshot,
        claims: Answer::Known(claims),
        pins: Answer::Known(pins),
        by: SeenBy::Helper,
        uid: session.uid,
        index: OnceCell::new(),
    })
}

/// Looks with this user's own eyes.
///
/// # Errors
/// Where not even the list of PCI functions can be read.
pub(crate) fn look(session: &Session<'_>) -> Result<Seen, Failure> {
    let snapshot =
        read_snapshot(&session.root()?, vfioctl_scan::HostView::BestEffort).map_err(|error| {
            Failure::could_not("CannotRead", error.to_string())
                .caused_by(&error)
                .hint("make sure that /sys is mounted")
        })?;
    Ok(Seen {
        snapshot,
        claims: Answer::CannotSee,
        pins: Answer::CannotSee,
        by: SeenBy::User,
        uid: session.uid,
        index: OnceCell::new(),
    })
}

/// What is not shown without the helper: root sees config space by itself.
fn heading(snapshot: &Snapshot) -> &'static str {
    let is_hidden = snapshot.functions.values().any(|function| {
        matches!(function.acs, Answer::CannotSee) || matches!(function.pcie_type, Answer::CannotSee)
    });
    if is_hidden {
        "claims, ACS and PCIe types are not shown"
    } else {
        "claims are not shown"
    }
}

#[cfg(test)]
mod tests {
    use vfioctl_core::claim::Purpose;

    use super::*;

    #[test]
    fn owners_are_called_by_name_where_there_is_one() {
        let person = Owner::person(1000);
        let machine = Owner {
            uid: 1000,
            purpose: Purpose::Machine("win".parse().unwrap()),
        };
        assert_eq!(owner_text(&person, Some("ann")), "ann");
        assert_eq!(owner_text(&person, None), "user 1000");
        assert_eq!(owner_text(&machine, Some("ann")), "machine 'win' of ann");
    }
}
