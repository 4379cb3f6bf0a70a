//! Claims and steps.

use vfioctl_core::claim::{Claim, Original, Owner, Purpose};
use vfioctl_core::pci::Identity;
use vfioctl_core::pin::Pin;
use vfioctl_core::plan::Step;

use super::{WireError, container_from_wire, long, number, parse};
use crate::device as io;

/// An owner; `user` is the name that goes with the number, where one is known.
pub fn owner(owner: &Owner, user: Option<String>) -> io::Owner {
    let (machine, container) = match &owner.purpose {
        Purpose::Person => (None, None),
        Purpose::Machine(name) => (Some(name.to_string()), None),
        Purpose::Container(container) => {
            let container = io::Container {
                name: container.name.to_string(),
                exclusive: container.exclusive,
                user: container.user.as_ref().map(ToString::to_string),
            };
            (None, Some(container))
        }
    };
    io::Owner {
        uid: owner.uid.into(),
        user,
        machine,
        container,
    }
}

/// An owner from the wire.
///
/// # Errors
/// A number or name that is not one, or two owners at once.
pub fn owner_from_wire(owner: &io::Owner) -> Result<Owner, WireError> {
    let purpose = match (&owner.machine, &owner.container) {
        (None, None) => Purpose::Person,
        (Some(name), None) => Purpose::Machine(parse("machine", name)?),
        (
            None,
            Some(io::Container {
                name,
                exclusive,
                user,
            }),
        ) => Purpose::Container(container_from_wire(name, *exclusive, user.as_deref())?),
        (Some(_), Some(_)) => {
            let because = "a device belongs to a machine or to a container, not to both".into();
            return Err(WireError {
                field: "container",
                because,
            });
        }
    };
    Ok(Owner {
        uid: number("uid", owner.uid)?,
        purpose,
    })
}

/// A function as it was before.
pub fn original(original: &Original) -> io::Original {
    io::Original {
        address: original.address.to_string(),
        vendor: original.identity.vendor.into(),
        device: original.identity.device.into(),
        subsystem_vendor: original.identity.subsystem_vendor.into(),
        subsystem_device: original.identity.subsystem_device.into(),
        driver: original.driver.as_ref().map(ToString::to_string),
        driver_override: original.driver_override.clone(),
    }
}

/// A function as it was before, from the wire.
///
/// # Errors
/// A field that is not what it should be.
pub fn original_from_wire(original: &io::Original) -> Result<Original, WireError> {
    Ok(Original {
        address: parse("address", &original.address)?,
        identity: Identity {
            vendor: number("vendor", original.vendor)?,
            device: number("device", original.device)?,
            subsystem_vendor: number("subsystem_vendor", original.subsystem_vendor)?,
            subsystem_device: number("subsystem_device", original.subsystem_device)?,
        },
        driver: original
            .driver
            .as_deref()
            .map(|name| parse("driver", name))
            .transpose()?,
        driver_override: original.driver_override.clone(),
    })
}

/// A claim.
pub fn claim(claim: &Claim, user: Option<String>) -> io::Claim {
    io::Claim {
        owner: owner(&claim.owner, user),
        functions: claim.originals.iter().map(original).collect(),
        since: long(claim.since),
    }
}

/// A claim from the wire.
///
/// # Errors
/// A field that is not what it should be.
pub fn claim_from_wire(claim: &io::Claim) -> Result<Claim, WireError> {
    Ok(Claim {
        owner: owner_from_wire(&claim.owner)?,
        originals: claim
            .functions
            .iter()
            .map(original_from_wire)
            .collect::<Result<_, _>>()?,
        since: number("since", claim.since)?,
    })
}

/// A pin; `problem` is why it does not hold its device now.
pub fn pin(pin: &Pin, user: Option<String>, problem: Option<String>) -> io::Pin {
    io::Pin {
        owner: owner(&Owner::person(pin.uid), user),
        functions: pin.originals.iter().map(original).collect(),
        since: long(pin.since),
        problem,
    }
}

/// A pin from the wire.
///
/// # Errors
/// A field that is not what it should be.
pub fn pin_from_wire(pin: &io::Pin) -> Result<Pin, WireError> {
    Ok(Pin {
        uid: owner_from_wire(&pin.owner)?.uid,
        originals: pin
            .functions
            .iter()
            .map(original_from_wire)
            .collect::<Result<_, _>>()?,
        since: number("since", pin.since)?,
    })
}

/// A step, with its sentence.
pub fn step(step: &Step) -> io::Step {
    let (verb, driver) = match step {
        Step::SetOverride { to, .. } => (io::Step_verb::set_override, to.clone()),
        Step::Unbind { driver, .. } => (io::Step_verb::unbind, Some(driver.to_string())),
        Step::Bind { driver, .. } => (io::Step_verb::bind, Some(driver.to_string())),
        Step::SetAcs { .. } => (io::Step_verb::set_acs, None),
        Step::SetPower { .. } => (io::Step_verb::set_power, None),
        Step::Remove { .. } => (io::Step_verb::remove, None),
        Step::Rescan { .. } => (io::Step_verb::rescan, None),
    };
    io::Step {
        verb,
        address: step.address().to_string(),
        driver,
        text: step.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_survives_the_journey() {
        let container = |exclusive, user: Option<&str>| {
            let user = user.map(|user| user.parse().unwrap());
            let name = "train".parse().unwrap();
            Purpose::Container(vfioctl_core::claim::Container {
                name,
                exclusive,
                user,
            })
        };
        for purpose in [
            Purpose::Person,
            Purpose::Machine("win".parse().unwrap()),
            container(false, None),
            container(true, Some("Änn, \"x\"")),
        ] {
            let before = Owner { uid: 990, purpose };
            assert_eq!(owner_from_wire(&owner(&before, None)), Ok(before));
        }
    }

    #[test]
    fn an_owner_is_one_thing_and_its_names_are_names() {
        let wire = |machine: Option<&str>, container: Option<(&str, Option<&str>)>| {
            owner_from_wire(&io::Owner {
                uid: 1,
                user: None,
                machine: machine.map(str::to_owned),
                container: container.map(|(name, user)| io::Container {
                    name: name.to_owned(),
                    exclusive: false,
                    user: user.map(str::to_owned),
                }),
            })
            .map_err(|error| error.field)
        };
        assert_eq!(wire(Some("m"), Some(("c", None))), Err("container"));
        assert_eq!(wire(None, Some(("../c", None))), Err("name"));
        assert_eq!(wire(None, Some(("c", Some("a\nb")))), Err("user"));
    }
}
