//! What the checks are decided by.

use crate::claim::Claim;
use crate::pci::PciAddress;
use crate::{Answer, Snapshot};

use super::Host;

/// What the checks are decided by, gathered by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The PCI machine.
    pub snapshot: Snapshot,
    /// Who has which device; only the helper knows.
    pub claims: Answer<Vec<Claim>>,
    /// The rest of the machine, as `vfioctl_scan::host::read_host` sees it.
    pub host: Host,
    /// What the programs say of themselves.
    pub programs: Programs,
    /// Whether the helper answers.
    pub helper: HelperState,
}

/// What the programs say of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// `qemu-system-x86_64 --version`.
    pub qemu: ProgramState,
    /// `qemu-img --version`.
    pub qemu_img: ProgramState,
}

/// What came of asking a program for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramState {
    /// It answered; its first line.
    Answered(String),
    /// There is no such program in `PATH`.
    NotFound,
    /// It did not run, or ended with an error.
    Failed(String),
    /// It did not answer in time.
    TimedOut,
}

/// Whether the helper answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelperState {
    /// It does, and speaks what this command speaks.
    Answers {
        /// Its version.
        version: String,
        /// The level of its interfaces.
        level: i64,
    },
    /// Nothing listens.
    NotRunning,
    /// It listens, and this user may not call it.
    NotPermitted,
    /// It answers, and its interfaces are older than this command's.
    TooOld {
        /// Its version.
        version: String,
        /// The level of its interfaces.
        level: i64,
        /// The level that this command needs.
        needed: i64,
    },
    /// Not asked, or its answer could not be understood.
    Unknown,
}

impl Facts {
    /// The claims, or none where they cannot be seen.
    pub(super) fn known_claims(&self) -> &[Claim] {
        match &self.claims {
            Answer::Known(claims) => claims,
            Answer::CannotSee => &[],
        }
    }

    /// How many PCI functions are there and could not be read: those whose path is a problem.
    pub(super) fn unread_functions(&self) -> usize {
        let is_function = |subject: &str| {
            subject
                .rsplit('/')
                .next()
                .is_some_and(|name| name.parse::<PciAddress>().is_ok())
        };
        self.snapshot
            .problems
            .iter()
            .filter(|problem| is_function(&problem.subject))
            .count()
    }

    /// Whether there is a PCI machine to judge: not where its functions could not be read.
    pub(super) fn is_pci_hidden(&self) -> bool {
        self.snapshot.functions.is_empty() && !self.snapshot.problems.is_empty()
    }
}
