//! The cluster: what can be asked of a host, whoever asks and however.
//!
//! [`Cluster`] is everything behind the HTTP interface and nothing of it: the same methods answer a
//! simulation. What is asked is read from the [`Mirror`] and changed through the `ledger`, the one
//! place where tasks and allocations are written. `session` is what runners say, `keeper` what nobody
//! asks for: placing what waits, telling what is lost, forgetting what is old.

mod draft;
mod keeper;
mod ledger;
mod node;
mod people;
mod relay;
mod session;
mod submission;
mod task;
mod waiting;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vfioctl_api::{Moment, Problem, ProblemCode};
use vfioctl_store::{Commit, Key, Lease, Store, Transaction};

use crate::clock::Clock;
use crate::mirror::Mirror;

pub use ledger::Ledger;
pub use people::Caller;
pub(crate) use relay::{LogPieces, LogWanted};
pub(crate) use task::{TaskEvent, TaskEvents};
pub(crate) use waiting::Exchange;

/// That a node may come: who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    /// SHA-256 of its certificate, in hexadecimal.
    pub(crate) certificate: String,
    /// Since when.
    pub(crate) since: Moment,
}

/// That a node is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alive {
    /// Names the registration.
    pub(crate) session: String,
    /// The start of its runner that registered.
    pub(crate) incarnation: String,
    /// The machine it runs on ([`vfioctl_api::NodeReport::machine`]).
    pub(crate) machine: String,
    /// The lease that this stands under.
    pub(crate) lease: i64,
}

/// What can be asked of a host. Clones are the same.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mirror: Mirror,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Clock,
    pub(crate) relay: Arc<relay::Relay>,
    /// Names this host among others.
    pub(crate) host: Arc<str>,
    /// Where other hosts' runners reach this one.
    pub(crate) address: Arc<str>,
    chance: Chance,
    pub(crate) started: Moment,
}

/// Where chance comes from.
pub type Chance = Arc<dyn ChanceSource>;

/// Gives bytes that nobody can foresee; a simulation gives ones that can be repeated.
pub trait ChanceSource: Send + Sync + std::fmt::Debug {
    /// Fills the bytes.
    fn fill(&self, bytes: &mut [u8]);
}

impl Cluster {
    /// Takes what a store holds, and starts what keeps it: the ledger, the watch and the keeper end with
    /// the returned tasks.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Clock,
        chance: Chance,
        address: &str,
    ) -> Result<(Self, Running), vfioctl_store::Error> {
        let mirror = Mirror::default();
        let listing = store.list(&crate::keys::all()).await?;
        mirror.replace(&listing, clock.now());
        let (ledger, writing) = Ledger::start(Arc::clone(&store), mirror.clone(), clock.clone());
        let cluster = Self {
            host: random_word(&chance).into(),
            address: address.into(),
            started: clock.now(),
            relay: Arc::default(),
            store,
            mirror,
            ledger,
            clock,
            chance,
        };
        let following = {
            let (store, mirror, clock) = (
                Arc::clone(&cluster.store),
                cluster.mirror.clone(),
                cluster.clock.clone(),
            );
            tokio::spawn(async move {
                crate::mirror::follow(&store, &mirror, &clock, listing.revision).await;
            })
        };
        let keeping = tokio::spawn(keeper::keep(cluster.clone()));
        let running = Running(vec![writing, following, keeping]);
        Ok((cluster, running))
    }

    /// A word that nobody can foresee.
    pub(crate) fn random_word(&self) -> String {
        random_word(&self.chance)
    }

    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.chance.fill(&mut bytes);
        bytes
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Writes something that is no task, and reads it back into the mirror. `Ok(false)`: somebody else
    /// was faster, and the mirror knows it now.
    pub(crate) async fn write(
        &self,
        transaction: Transaction,
        keys: &[Key],
    ) -> Result<bool, Problem> {
        let commit = self.store.commit(transaction).await;
        for key in keys {
            let entry = self
                .store
                .get(key)
                .await
                .map_err(|error| unavailable(&error))?;
            self.mirror.look(key, entry, self.now());
        }
        match commit {
            Ok(Commit::Done(_)) => Ok(true),
            Ok(Commit::Conflict) => Ok(false),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// What runs beside a cluster; it ends when this is dropped.
#[derive(Debug)]
pub struct Running(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

fn random_word(chance: &Chance) -> String {
    let mut bytes = [0; 12];
    chance.fill(&mut bytes);
    hex(&bytes)
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A lease, as it stands in a record.
pub(crate) fn lease_of(alive: &Alive) -> Lease {
    Lease::from_number(alive.lease)
}

/// That the store does not answer.
pub(crate) fn unavailable(error: &vfioctl_store::Error) -> Problem {
    let mut message = format!("what the cluster knows cannot be read or written now: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    Problem::new(ProblemCode::StoreUnavailable, message)
        .hint("try again in a moment; an operator finds the reason in the host's log")
}

/// That a record could not be written as JSON, which no record comes to.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value)
        .map_err(|error| Problem::new(ProblemCode::Internal, error.to_string()))
}
