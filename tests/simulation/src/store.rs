//! A store that fails as real ones do: it does not answer, or its answer is lost.

use std::time::Duration;

use async_trait::async_trait;
use vfioctl_store::{
    Commit, Entry, Error, ErrorKind, Key, Lease, Listing, MemoryStore, Prefix, Result, Revision,
    Store, Transaction, Watch,
};

use crate::chance::Chance;
use crate::faults::FaultsNow;

/// A store that fails.
#[derive(Debug, Clone)]
pub(crate) struct FailingStore {
    pub(crate) real: MemoryStore,
    pub(crate) chance: Chance,
    pub(crate) faults: FaultsNow,
}

impl FailingStore {
    async fn delay(&self) {
        let delay = self.chance.time(self.faults.get().delay_ms / 4);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    async fn ask(&self) -> Result<()> {
        self.delay().await;
        match self.chance.in_thousand(self.faults.get().store_unavailable) {
            true => Err(Error::new(
                ErrorKind::Unavailable,
                "the store does not answer (simulated)",
            )),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for FailingStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        self.ask().await?;
        self.real.get(key).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing> {
        self.ask().await?;
        self.real.list(prefix).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit> {
        self.ask().await?;
        let unknown = || Error::new(ErrorKind::Unknown, "the store's answer is lost (simulated)");
        let faults = self.faults.get();
        if self.chance.in_thousand(faults.store_unknown / 2) {
            return Err(unknown());
        }
        let done = self.real.commit(transaction).await;
        self.delay().await;
        if self.chance.in_thousand(faults.store_unknown / 2) {
            return Err(unknown());
        }
        done
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch> {
        self.ask().await?;
        self.real.watch(prefix, after).await
    }

    async fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        self.ask().await?;
        self.real.grant(time_to_live).await
    }

    async fn renew(&self, lease: Lease) -> Result<()> {
        self.ask().await?;
        self.real.renew(lease).await
    }

    async fn revoke(&self, lease: Lease) -> Result<()> {
        self.ask().await?;
        self.real.revoke(lease).await
    }
}
