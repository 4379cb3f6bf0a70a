//! A session: one call of the command, with all it works with.

use std::path::{Path, PathBuf};

use vfioctl_protocol::{ClientError, NoHelper};
use vfioctl_scan::SysRoot;

use crate::failure::Failure;
use crate::helper::Helper;
use crate::output::Output;

/// One call of the command, with all it works with.
pub(crate) struct Session<'a> {
    /// Where words go.
    pub(crate) output: Output<'a>,
    /// Number of this user, as the helper sees it too (`SO_PEERCRED` has the effective one).
    pub(crate) uid: u32,
    socket: PathBuf,
}

impl<'a> Session<'a> {
    /// Takes what a call works with; touches neither the machine nor the helper yet.
    pub(crate) fn open(socket: PathBuf, output: Output<'a>) -> Self {
        Self {
            output,
            uid: rustix::process::geteuid().as_raw(),
            socket,
        }
    }

    /// Where the helper makes a folder for each machine: beside its socket.
    pub(crate) fn machines_dir(&self) -> PathBuf {
        self.socket
            .parent()
            .unwrap_or(Path::new("/"))
            .join("machines")
    }

    /// Opens the machine, as far as this user sees it.
    ///
    /// # Errors
    /// Where `/sys` or `/proc` cannot be opened.
    pub(crate) fn root(&self) -> Result<SysRoot, Failure> {
        SysRoot::live().map_err(|error| {
            Failure::could_not("CannotRead", error.to_string())
                .caused_by(&error)
                .hint("make sure that /sys and /proc are mounted")
        })
    }

    /// Connects to the helper and makes sure that it is not too old.
    ///
    /// # Errors
    /// Where it cannot be reached or is too old.
    pub(crate) fn helper(&self) -> Result<Helper, Failure> {
        self.try_helper().map_err(|error| match error {
            NoHelper::Unanswered(error) => self.failure(&error),
            NoHelper::TooOld(version) => {
                Failure::helper_too_old(version.as_ref().map(|version| version.level))
            }
        })
    }

    /// The same, for those who want to know exactly why there is none.
    ///
    /// # Errors
    /// Where it cannot be reached or is too old.
    pub(crate) fn try_helper(&self) -> Result<Helper, NoHelper> {
        Helper::connect(&self.socket)
    }

    /// Why a call has no answer, in words.
    pub(crate) fn failure(&self, error: &ClientError) -> Failure {
        match self.root() {
            Ok(root) => Failure::from_client(error, &root),
            Err(failure) => failure,
        }
    }
}
