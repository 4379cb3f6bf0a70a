//! Who may do what. The default is no.
//!
//! Who may call at all is decided by the socket's mode: `root:vfioctl 0660`. Within that, a
//! member of the group may take what is free and give back what is their own; the superuser may
//! give back anything. What containers use is not given back by its address, not even by their
//! owner: it is their claims that end.

use vfioctl_core::claim::Claim;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::Refusal;

use crate::MethodError;
use crate::peer::Peer;

/// Permission to give back what a claim holds; only [`authorise_release`] makes one.
#[derive(Debug)]
#[must_use]
pub(crate) struct MayRelease(());

/// Whether the caller may give back what the claim holds: take it from vfio-pci, and let its own
/// driver have it.
pub(crate) fn authorise_release(
    peer: &Peer,
    claim: &Claim,
    address: PciAddress,
) -> Result<MayRelease, Refusal> {
    let owner = claim.owner.clone();
    if owner.container().is_some() {
        Err(Refusal::InContainer {
            asked: address,
            member: address,
            owner,
            others: 0,
        })
    } else if peer.uid == owner.uid || peer.is_root() {
        Ok(MayRelease(()))
    } else {
        Err(Refusal::NotOwner { address, owner })
    }
}

/// Permission to start machines; only [`authorise_machine`] makes one.
#[derive(Debug)]
#[must_use]
pub(crate) struct MayStart(());

/// Whether the caller may start machines: QEMU runs as its caller, and never as the superuser.
pub(crate) fn authorise_machine(peer: &Peer) -> Result<MayStart, MethodError> {
    if peer.is_root() {
        return Err(MethodError::refused(
            "RootMachine",
            "machines run as the user who asks for them, and never as root",
            "run the command as an ordinary user who is in the group vfioctl",
        ));
    }
    Ok(MayStart(()))
}

#[cfg(test)]
mod tests {
    use vfioctl_core::claim::{Container, Owner, Purpose};

    use super::*;

    fn peer(uid: u32) -> Peer {
        Peer {
            uid,
            gid: uid,
            pid: 1,
            groups: Vec::new(),
        }
    }

    #[test]
    fn only_the_owner_and_root_may_release() {
        let claim = Claim {
            owner: Owner::person(1001),
            originals: Vec::new(),
            since: 0,
        };
        let address: PciAddress = "0000:01:00.0".parse().unwrap();
        assert!(authorise_release(&peer(1001), &claim, address).is_ok());
        assert!(authorise_release(&peer(0), &claim, address).is_ok());
        let refusal = authorise_release(&peer(1002), &claim, address).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::NotOwner {
                address,
                owner: Owner::person(1001)
            }
        );
    }

    #[test]
    fn what_a_container_uses_is_given_back_by_nobody() {
        let purpose = Purpose::Container(Container {
            name: "train".parse().unwrap(),
            exclusive: false,
            user: None,
        });
        let claim = Claim {
            owner: Owner { uid: 1001, purpose },
            originals: Vec::new(),
            since: 0,
        };
        let address: PciAddress = "0000:01:00.0".parse().unwrap();
        for uid in [1001, 1002, 0] {
            let refusal = authorise_release(&peer(uid), &claim, address).unwrap_err();
            assert_eq!(refusal.name(), "InContainer");
        }
    }

    #[test]
    fn root_starts_no_machine() {
        assert!(authorise_machine(&peer(0)).is_err());
        assert!(authorise_machine(&peer(1001)).is_ok());
    }
}
