//! Claims and steps.

use vfioctl_core::claim::{Claim, Original, Owner, Purpose};
use vfioctl_core::pci::Identity;
use vfioctl_core::pin::Pin;
use vfioctl_core::plan::Step;

use super::{WireError, long, number, parse};
use crate::device as io;

/// An owner; `user` is the name that goes with the number, where one is known.
pub fn owner(owner: &Owner, user: Option<String>) -> io::Owner {
    let machine = match &owner.purpose {
        Purpose::Person => None,
        Purpose::Machine(name) => Some(name.to_string()),
    };
    io::Owner {
        uid: owner.uid.into(),
        user,
        machine,
    }
}

/// An owner from the wire.
///
/// # Errors
/// A number or name that is not one.
fn owner_from_wire(owner: &io::Owner) -> Result<Owner, WireError> {
    let purpose = match &owner.machine {
        None => Purpose::Person,
        Some(name) => Purpose::Machine(parse("machine", name)?),
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
