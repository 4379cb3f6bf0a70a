//! Records of what is done to devices.

use serde::Serialize;
use vfioctl_protocol::{acs, device};

use super::{ClaimRecord, OwnerRecord};

/// One thing that is done to one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StepRecord {
    /// What is done.
    pub(crate) verb: StepVerb,
    /// The function.
    pub(crate) address: String,
    /// The driver, or the value of `driver_override`; null where it is cleared.
    pub(crate) driver: Option<String>,
    /// The same as a sentence.
    pub(crate) text: String,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepVerb {
    /// Writes `driver_override`.
    SetOverride,
    /// Takes the function from its driver.
    Unbind,
    /// Gives the function to a driver.
    Bind,
    /// Writes the ACS control register.
    SetAcs,
    /// Keeps a port awake, or lets it sleep again.
    SetPower,
    /// Removes the function from the kernel's view.
    Remove,
    /// Lets the kernel look for functions below a bridge.
    Rescan,
}

/// `vfioctl bind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BindRecord {
    /// The device that was named.
    pub(crate) address: String,
    /// Whether this is only a plan.
    pub(crate) planned: bool,
    /// Whether the caller had it already, and nothing was done.
    pub(crate) already: bool,
    /// Addresses of all functions that are taken.
    pub(crate) members: Vec<String>,
    /// Numbers of the groups that are taken.
    pub(crate) groups: Vec<i64>,
    /// What is done, or was.
    pub(crate) steps: Vec<StepRecord>,
    /// Whether it is pinned now, or in a plan, would be.
    pub(crate) pinned: bool,
    /// The claim; null in a plan.
    pub(crate) claim: Option<ClaimRecord>,
}

/// `vfioctl release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReleaseRecord {
    /// The device that was named.
    pub(crate) address: String,
    /// Whether this is only a plan.
    pub(crate) planned: bool,
    /// Addresses of all functions that are given back.
    pub(crate) members: Vec<String>,
    /// What is done, or was.
    pub(crate) steps: Vec<StepRecord>,
    /// What no step could bring back, as sentences.
    pub(crate) leftovers: Vec<String>,
    /// Addresses of the functions that are no longer pinned, or would be no longer.
    pub(crate) unpinned: Vec<String>,
}

/// `vfioctl recover`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RecoverRecord {
    /// Whether this is only a plan.
    pub(crate) planned: bool,
    /// What was left behind.
    pub(crate) recovered: Vec<RecoveredRecord>,
}

/// One thing left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RecoveredRecord {
    /// Who left it.
    pub(crate) owner: OwnerRecord,
    /// What was found.
    pub(crate) found: String,
    /// The functions.
    pub(crate) addresses: Vec<String>,
    /// What is done, or was.
    pub(crate) steps: Vec<StepRecord>,
    /// What no step can bring back, as sentences.
    pub(crate) leftovers: Vec<String>,
    /// Whether everything is home now, or on vfio-pci where it is pinned; false in a plan.
    pub(crate) home: bool,
    /// Whether this is a pinned device, which is bound and not taken home.
    pub(crate) pinned: bool,
}

impl From<device::Step> for StepRecord {
    fn from(step: device::Step) -> Self {
        Self {
            verb: match step.verb {
                device::Step_verb::set_override => StepVerb::SetOverride,
                device::Step_verb::unbind => StepVerb::Unbind,
                device::Step_verb::bind => StepVerb::Bind,
                device::Step_verb::set_acs => StepVerb::SetAcs,
                device::Step_verb::set_power => StepVerb::SetPower,
                device::Step_verb::remove => StepVerb::Remove,
                device::Step_verb::rescan => StepVerb::Rescan,
            },
            address: step.address,
            driver: step.driver,
            text: step.text,
        }
    }
}

impl From<acs::Step> for StepRecord {
    fn from(step: acs::Step) -> Self {
        Self {
            verb: match step.verb {
                acs::Step_verb::set_override => StepVerb::SetOverride,
                acs::Step_verb::unbind => StepVerb::Unbind,
                acs::Step_verb::bind => StepVerb::Bind,
                acs::Step_verb::set_acs => StepVerb::SetAcs,
                acs::Step_verb::set_power => StepVerb::SetPower,
                acs::Step_verb::remove => StepVerb::Remove,
                acs::Step_verb::rescan => StepVerb::Rescan,
            },
            address: step.address,
            driver: step.driver,
            text: step.text,
        }
    }
}

impl StepRecord {
    /// Steps from the wire.
    pub(crate) fn all(steps: Vec<device::Step>) -> Vec<Self> {
        steps.into_iter().map(Into::into).collect()
    }
}
