//! The link to a host: what a runner says, and what it is told.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;
use vfioctl_api::{LogOrder, Problem, ProblemCode, Register, Registered, Sync, SyncReply};

/// A stream of bytes, as a log is.
pub type Bytes = Pin<Box<dyn Stream<Item = std::io::Result<Vec<u8>>> + Send>>;

/// Why an exchange had no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkError {
    /// No host answers; whether it was heard is not known.
    Unreachable(String),
    /// A host answered, and does not do it.
    Refused(Problem),
}

impl LinkError {
    /// Whether the runner has to register anew.
    pub fn is_session_ended(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.code == ProblemCode::SessionEnded)
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "no host answers: {reason}"),
            Self::Refused(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for LinkError {}

/// The link to a host.
#[async_trait]
pub trait Link: Send + std::marker::Sync + fmt::Debug {
    /// Presents the runner.
    ///
    /// # Errors
    /// [`LinkError`].
    async fn register(&self, register: &Register) -> Result<Registered, LinkError>;

    /// One exchange.
    ///
    /// # Errors
    /// [`LinkError`].
    async fn sync(&self, sync: &Sync) -> Result<SyncReply, LinkError>;

    /// Sends a log that somebody reads.
    ///
    /// # Errors
    /// [`LinkError`]; the reader may also have gone.
    async fn send_log(&self, order: &LogOrder, bytes: Bytes) -> Result<(), LinkError>;
}
