//! Pins: devices that stay on vfio-pci over reboots.
//!
//! A pin names each function by its address *and* its identity. An address alone would take
//! whatever card is put into the slot next, an identity alone every equal card of the machine.
//! The names are those of files below `/etc/vfioctl/pinned`, and `udev/70-vfioctl.rules` makes the
//! same name of what it finds, so that nothing but the file has to be there.

use crate::Snapshot;
use crate::claim::{Claim, Original, Owner, Purpose};
use crate::pci::{Identity, PciAddress};
use crate::plan::Leftover;

/// That some functions, taken together, shall always be on vfio-pci, for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Number of the user.
    pub uid: u32,
    /// The functions, as they were before they were first taken.
    pub originals: Vec<Original>,
    /// When it was made, in seconds since 1970.
    pub since: u64,
}

impl Pin {
    /// The pin that keeps what a person's claim holds. `None` for those of machines and containers,
    /// which end with them.
    pub fn of(claim: &Claim, now: u64) -> Option<Self> {
        (claim.owner.purpose == Purpose::Person).then(|| Self {
            uid: claim.owner.uid,
            originals: claim.originals.clone(),
            since: now,
        })
    }

    /// The claim that the pin stands for.
    pub fn claim(&self, since: u64) -> Claim {
        Claim {
            owner: Owner::person(self.uid),
            originals: self.originals.clone(),
            since,
        }
    }

    /// The names that pin the functions, the first one's first.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.originals
            .iter()
            .map(|original| pin_name(original.address, original.identity))
    }

    /// Whether a function of the pin sits at the address, or did.
    pub fn holds(&self, address: PciAddress) -> bool {
        self.originals.iter().any(|each| each.address == address)
    }

    /// Whether the pin is about this function: the address and the identity are its.
    pub fn is_of(&self, address: PciAddress, identity: Identity) -> bool {
        let is_it = |each: &Original| each.address == address && each.identity == identity;
        self.originals.iter().any(is_it)
    }

    /// Whether a claim holds the very functions of the pin: of its user, or of a machine of theirs.
    /// A container of theirs has them on their own drivers, which is what the pin is not for.
    pub fn is_held_by(&self, claim: &Claim) -> bool {
        let devices = |originals: &[Original]| -> Vec<_> {
            originals.iter().map(|o| (o.address, o.identity)).collect()
        };
        claim.owner.uid == self.uid
            && claim.owner.container().is_none()
            && devices(&claim.originals) == devices(&self.originals)
    }

    /// The first function that is not there, or is another one by now.
    pub fn find_mismatch(&self, snapshot: &Snapshot) -> Option<Leftover> {
        self.originals.iter().find_map(|original| {
            let (address, expected) = (original.address, original.identity);
            match snapshot.function(address) {
                None => Some(Leftover::Missing(address)),
                Some(function) if function.identity != expected => Some(Leftover::Replaced {
                    address,
                    expected,
                    found: function.identity,
                }),
                Some(_) => None,
            }
        })
    }
}

/// The name that pins a function: its address and its identity as sysfs shows them, since udev
/// writes the name from there.
pub fn pin_name(address: PciAddress, identity: Identity) -> String {
    let Identity {
        vendor,
        device,
        subsystem_vendor,
        subsystem_device,
    } = identity;
    format!("{address}-{vendor:#06x}-{device:#06x}-{subsystem_vendor:#06x}-{subsystem_device:#06x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Container, Owner};

    fn original(address: &str, device: u16) -> Original {
        Original {
            address: address.parse().unwrap(),
            identity: Identity {
                vendor: 0x10de,
                device,
                subsystem_vendor: 0,
                subsystem_device: 0x16f1,
            },
            driver: "nouveau".parse().ok(),
            driver_override: None,
        }
    }

    fn claim(purpose: Purpose) -> Claim {
        Claim {
            owner: Owner { uid: 1001, purpose },
            originals: vec![
                original("0000:01:00.0", 0x2684),
                original("0000:01:00.1", 0x22ba),
            ],
            since: 7,
        }
    }

    #[test]
    fn a_name_is_what_udev_writes_from_sysfs() {
        let pin = Pin::of(&claim(Purpose::Person), 8).unwrap();
        let names: Vec<String> = pin.names().collect();
        assert_eq!(
            names,
            [
                "0000:01:00.0-0x10de-0x2684-0x0000-0x16f1",
                "0000:01:00.1-0x10de-0x22ba-0x0000-0x16f1"
            ]
        );
    }

    #[test]
    fn only_what_a_person_has_can_be_pinned() {
        let person = claim(Purpose::Person);
        let pin = Pin::of(&person, 8).unwrap();
        assert_eq!(pin.claim(7), person);
        let machine = claim(Purpose::Machine("win".parse().unwrap()));
        assert_eq!(Pin::of(&machine, 8), None);
        assert!(
            pin.is_held_by(&machine),
            "a machine of the same user has it"
        );
        let container = claim(Purpose::Container(Container {
            name: "train".parse().unwrap(),
            exclusive: true,
            user: None,
        }));
        assert_eq!(Pin::of(&container, 8), None);
        assert!(!pin.is_held_by(&container), "it is not on vfio-pci");
    }

    #[test]
    fn another_device_at_the_address_is_not_the_pinned_one() {
        let pin = Pin::of(&claim(Purpose::Person), 8).unwrap();
        let mut other = claim(Purpose::Person);
        other.originals[0].identity.device = 0x2704;
        let found = other.originals[0].identity;
        assert!(!pin.is_held_by(&other));
        assert!(!pin.is_of(other.originals[0].address, found));
        assert!(pin.holds(other.originals[0].address));
        let expected = Leftover::Missing(pin.originals[0].address);
        assert_eq!(pin.find_mismatch(&Snapshot::default()), Some(expected));
    }
}
