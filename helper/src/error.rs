//! Why a method did not do what was asked.

use vfioctl_core::plan::Refusal;
use vfioctl_protocol::wire::WireError;

/// Why a method did not do what was asked. Each has a named varlink error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MethodError {
    /// A parameter is not what it should be.
    InvalidParameter(WireError),
    /// Nothing was done.
    Refused {
        /// A short name, for programs.
        reason: String,
        /// What stands in the way.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// Something was tried and failed.
    Failed {
        /// What was tried, and what came of it.
        message: String,
        /// What to do about it.
        hint: String,
        /// Whether everything is as it was before.
        undone: bool,
    },
    /// The caller has no such machine.
    NoSuchMachine(String),
    /// The caller has a machine of that name.
    MachineExists(String),
    /// The caller has no claim for a container of that name.
    NoSuchContainer(String),
    /// The caller has another claim for a container of that name.
    ContainerExists(String),
}

impl MethodError {
    pub(crate) fn refused(
        reason: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Refused {
            reason: reason.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn failed(
        message: impl Into<String>,
        hint: impl Into<String>,
        undone: bool,
    ) -> Self {
        Self::Failed {
            message: message.into(),
            hint: hint.into(),
            undone,
        }
    }

    /// What stands in the way, or what came of it, for people.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } | Self::Failed { message, .. } => message.clone(),
            Self::InvalidParameter(error) => error.to_string(),
            Self::NoSuchMachine(name) => format!("there is no machine '{name}'"),
            Self::MachineExists(name) => format!("there is a machine '{name}'"),
            Self::NoSuchContainer(name) => format!("there is no claim for a container '{name}'"),
            Self::ContainerExists(name) => format!("there is a claim for a container '{name}'"),
        }
    }

    /// The outcome as one word, for the audit line.
    pub(crate) fn outcome(&self) -> &str {
        match self {
            Self::InvalidParameter(_) => "InvalidParameter",
            Self::Refused { reason, .. } => reason,
            Self::Failed { .. } => "Failed",
            Self::NoSuchMachine(_) => "NoSuchMachine",
            Self::MachineExists(_) => "MachineExists",
            Self::NoSuchContainer(_) => "NoSuchContainer",
            Self::ContainerExists(_) => "ContainerExists",
        }
    }
}

impl From<Refusal> for MethodError {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.name(), refusal.to_string(), refusal.hint())
    }
}

impl From<WireError> for MethodError {
    fn from(error: WireError) -> Self {
        Self::InvalidParameter(error)
    }
}

/// An error of looking: nothing was done yet.
impl From<vfioctl_scan::ReadError> for MethodError {
    fn from(error: vfioctl_scan::ReadError) -> Self {
        let message = format!("cannot look at the machine: {error}: {}", error.because());
        Self::failed(message, "run 'vfioctl check' to see what is amiss", true)
    }
}

/// An error of the state directory before anything was done.
impl From<crate::state::StateError> for MethodError {
    fn from(error: crate::state::StateError) -> Self {
        Self::failed(
            error.to_string(),
            "make room or mend the file system of the helper's state directory, /var/lib/vfioctl",
            true,
        )
    }
}
