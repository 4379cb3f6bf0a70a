//! How functions are brought back to what they were, from whatever state they are in.
//!
//! One plan serves release, undo after a failed step, and recovery after a crash: it does not
//! trust any record of how far something came, it compares what is with what was.

use std::fmt;

use crate::Snapshot;
use crate::claim::Original;
use crate::pci::{DriverName, Identity, PciAddress, PciFunction};

use super::Step;

/// A function that cannot be brought back by steps, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// The function is no longer there.
    Missing(PciAddress),
    /// Another device sits at the address now; it is not touched.
    Replaced {
        /// The address.
        address: PciAddress,
        /// What was there.
        expected: Identity,
        /// What is there now.
        found: Identity,
    },
    /// Someone else bound it to a driver that is neither ours nor its own; it is left there.
    Taken {
        /// The address.
        address: PciAddress,
        /// The driver that has it.
        driver: DriverName,
    },
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(address) => write!(f, "{address} is no longer there"),
            Self::Replaced {
                address,
                expected,
                found,
            } => {
                write!(f, "{address} is now {found}, not {expected}; left alone")
            }
            Self::Taken { address, driver } => {
                write!(
                    f,
                    "{address} was bound to {driver} by someone else; left there"
                )
            }
        }
    }
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestorePlan {
    /// The steps, in order; empty where everything is as it was.
    pub steps: Vec<Step>,
    /// What no step can bring back.
    pub leftovers: Vec<Leftover>,
}

/// Plans to bring functions back, the last one first.
pub fn plan_restore(snapshot: &Snapshot, originals: &[Original]) -> RestorePlan {
    plan_from(snapshot, originals, Finder::Others)
}

/// Plans to bring back functions that were removed and found again by us: whichever driver has
/// them now took them then, and nobody chose it.
pub fn plan_return(snapshot: &Snapshot, originals: &[Original]) -> RestorePlan {
    plan_from(snapshot, originals, Finder::Kernel)
}

/// Who may have bound a function to the driver that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finder {
    /// Anyone: what they did is left alone.
    Others,
    /// The kernel, when it found the function.
    Kernel,
}

fn plan_from(snapshot: &Snapshot, originals: &[Original], finder: Finder) -> RestorePlan {
    let mut plan = RestorePlan::default();
    for original in originals.iter().rev() {
        let address = original.address;
        match snapshot.function(address) {
            None => plan.leftovers.push(Leftover::Missing(address)),
            Some(function) if function.identity != original.identity => {
                let (expected, found) = (original.identity, function.identity);
                plan.leftovers.push(Leftover::Replaced {
                    address,
                    expected,
                    found,
                });
            }
            Some(function) => restore_function(function, original, finder, &mut plan),
        }
    }
    plan
}

fn restore_function(
    function: &PciFunction,
    original: &Original,
    finder: Finder,
    plan: &mut RestorePlan,
) {
    let address = function.address;
    let set = |from: Option<&String>, to: Option<&String>| {
        (from != to).then(|| Step::SetOverride {
            address,
            from: from.cloned(),
            to: to.cloned(),
        })
    };
    let override_now = function.driver_override.clone().known().flatten();
    let wanted = original.driver_override.as_ref();
    if let Some(driver) = &function.driver {
        let is_taken = Some(driver) != original.driver.as_ref()
            && !driver.is_vfio()
            && finder == Finder::Others;
        if is_taken {
            // Our override goes even so: left behind, it would aim the next probe at vfio-pci.
            if override_now.as_deref() == Some(DriverName::vfio_pci().as_str()) {
                plan.steps.extend(set(override_now.as_ref(), wanted));
            }
            plan.leftovers.push(Leftover::Taken {
                address,
                driver: driver.clone(),
            });
            return;
        }
    }
    if function.driver == original.driver {
        plan.steps.extend(set(override_now.as_ref(), wanted));
        return;
    }
    // An override that names another driver than the one to bind would make the bind fail with
    // ENODEV, so the override is aimed at the driver first and put back as it was afterwards.
    let name = original
        .driver
        .as_ref()
        .map(|driver| driver.as_str().to_owned());
    let aim = match (wanted, &name) {
        (Some(text), Some(driver)) if text != driver => name.as_ref(),
        _ => wanted,
    };
    plan.steps.extend(set(override_now.as_ref(), aim));
    if let Some(driver) = &function.driver {
        plan.steps.push(Step::Unbind {
            address,
            driver: driver.clone(),
        });
    }
    if let Some(driver) = &original.driver {
        plan.steps.push(Step::Bind {
            address,
            driver: driver.clone(),
        });
    }
    plan.steps.extend(set(aim, wanted));
}
