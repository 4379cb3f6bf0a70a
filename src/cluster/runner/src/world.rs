//! The world: what a node is and can do, as the agent sees it. The live one has an engine, a helper and
//! GPUs; a simulation has none of these and tells what really happened.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use vfioctl_api::{Exit, LogOrder, NodeReport, Order, SshAccess, Telemetry, Wanted};

use crate::link::Bytes;

/// What a node is and can do.
#[async_trait]
pub trait World: Send + Sync + fmt::Debug {
    /// The full picture of the node, looked at now.
    async fn report(&self) -> NodeReport;

    /// How the node fares, looked at now.
    async fn telemetry(&self) -> Telemetry;

    /// What runs this kind of work.
    fn backend(&self, order: &Order) -> Arc<dyn Backend>;

    /// A log of a task, from an offset on.
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence.
    async fn read_log(&self, order: &LogOrder) -> Result<Bytes, String>;
}

/// What runs work: an engine for containers, the helper for machines.
///
/// A run is named by its task and its number, and there is never more than one of that name; so what
/// an earlier runner began is found again, and beginning twice is impossible here too.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// Makes everything ready and, when that is done, calls [`Begin::begin`] right before the work
    /// begins. Where it fails before that, nothing is left; where it fails after, the run may have begun.
    ///
    /// # Errors
    /// [`StartError`].
    async fn start(&self, order: &Order, begin: &Begin) -> Result<(), StartError>;

    /// What there is of a run.
    ///
    /// # Errors
    /// Where that cannot be found out now.
    async fn find(&self, order: &Order) -> Result<Found, Unknown>;

    /// Waits for the end of a run that goes on, telling how it goes on meanwhile.
    ///
    /// # Errors
    /// Where that cannot be found out any more; the run may go on.
    async fn wait(&self, order: &Order, running: &Running) -> Result<Found, Unknown>;

    /// Ends a run: at once, or by asking it first. It is over when this returns.
    ///
    /// # Errors
    /// Where it is not.
    async fn end(&self, order: &Order, at_once: bool) -> Result<(), Unknown>;

    /// Gives back what a run that is over held beside its work: claims on GPUs. What it wrote stays.
    ///
    /// # Errors
    /// Where that is not done yet.
    async fn settle(&self, order: &Order) -> Result<(), Unknown>;

    /// Removes all that is left of a task, its log and its disk included.
    ///
    /// # Errors
    /// Where something is left.
    async fn remove(&self, order: &Order) -> Result<(), Unknown>;
}

/// What there is of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It runs.
    Running,
    /// It has ended.
    Ended(Exit),
    /// There is nothing.
    Absent,
}

/// Why work does not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// It cannot be started; nothing is left of it.
    Failed {
        /// Why, as a sentence.
        reason: String,
        /// Whether another node, or a later moment, could do it.
        may_retry: bool,
    },
    /// It was not wanted any more; nothing is left of it.
    Cancelled,
    /// It may have begun, and has to be looked for.
    Unknown(String),
}

impl StartError {
    /// Nothing will ever make this start.
    pub fn never(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            may_retry: false,
        }
    }

    /// Another node, or a later moment, could do it.
    pub fn not_now(reason: impl Into<String>) -> Self {
        Self::Failed {
            reason: reason.into(),
            may_retry: true,
        }
    }
}

/// Something cannot be found out, or be done, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}

/// What a start tells, and asks.
#[derive(Debug)]
pub struct Begin {
    pub(crate) teller: Teller,
    pub(crate) wanted: watch::Receiver<Wanted>,
    pub(crate) begun: Box<dyn BeginHook>,
}

/// What happens right before work begins.
#[async_trait]
pub trait BeginHook: Send + Sync + fmt::Debug {
    /// Writes down that it begins.
    ///
    /// # Errors
    /// Where that cannot be written down, or must not happen: then it does not begin.
    async fn begin(&self) -> Result<(), StartError>;
}

impl Begin {
    /// Tells how the start goes on, as a sentence.
    pub fn tell(&self, progress: impl Into<String>) {
        self.teller.starting(progress.into());
    }

    /// To be called right before the work begins: from here on it counts as begun.
    ///
    /// # Errors
    /// It must not begin; all that was made ready is to be undone.
    pub async fn begin(&self) -> Result<(), StartError> {
        if *self.wanted.borrow() != Wanted::Run {
            return Err(StartError::Cancelled);
        }
        self.begun.begin().await
    }

    /// Comes true when the work is not wanted any more; never, as long as it is.
    pub async fn cancelled(&self) {
        let mut wanted = self.wanted.clone();
        if wanted
            .wait_for(|wanted| *wanted != Wanted::Run)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

/// What a run tells that goes on.
#[derive(Debug)]
pub struct Running {
    pub(crate) teller: Teller,
}

impl Running {
    /// Tells how it goes on, and how it is reached once it is.
    pub fn tell(&self, progress: Option<String>, ssh: Option<SshAccess>) {
        self.teller.running(progress, ssh);
    }
}

/// Passes words on to whoever tells the host.
#[derive(Clone)]
pub struct Teller(Arc<dyn Fn(vfioctl_api::Phase) + Send + Sync>);

impl Teller {
    /// Passes them on to this.
    pub fn new(tell: impl Fn(vfioctl_api::Phase) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    fn starting(&self, progress: String) {
        (self.0)(vfioctl_api::Phase::Starting { progress });
    }

    fn running(&self, progress: Option<String>, ssh: Option<SshAccess>) {
        (self.0)(vfioctl_api::Phase::Running { progress, ssh });
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}
