//! A link that loses messages.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use vfioctl_api::{LogOrder, NodeName, Problem, Register, Registered, Sync, SyncReply};
use vfioctl_host::cluster::Cluster;
use vfioctl_runner::link::{Bytes, Link, LinkError};

use crate::chance::Chance;
use crate::faults::FaultsNow;
use crate::truth::Truth;

/// The hosts that run at this moment. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(Arc<Mutex<Vec<Option<Cluster>>>>);

impl Hosts {
    pub(crate) fn set(&self, index: usize, host: Option<Cluster>) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() <= index {
            hosts.resize(index + 1, None);
        }
        if let Some(place) = hosts.get_mut(index) {
            *place = host;
        }
    }

    /// Any host that runs.
    pub(crate) fn any(&self, chance: &Chance) -> Option<Cluster> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running: Vec<Cluster> = hosts.iter().flatten().cloned().collect();
        chance.pick(&running).cloned()
    }
}

/// A link that loses messages.
#[derive(Clone)]
pub(crate) struct LossyLink {
    pub(crate) node: NodeName,
    pub(crate) hosts: Hosts,
    pub(crate) chance: Chance,
    pub(crate) faults: FaultsNow,
    pub(crate) truth: Truth,
}

impl fmt::Debug for LossyLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LossyLink({})", self.node)
    }
}

/// How long somebody waits for an answer that does not come.
const TIMEOUT: Duration = Duration::from_secs(10);

impl LossyLink {
    fn is_cut_off(&self) -> bool {
        self.truth.lock().node(&self.node).cut_off.is_some()
    }

    async fn travel(&self) {
        tokio::time::sleep(self.chance.time(self.faults.get().delay_ms)).await;
    }

    async fn lost<T>(&self, what: &str) -> Result<T, LinkError> {
        tokio::time::sleep(TIMEOUT).await;
        Err(LinkError::Unreachable(what.to_owned()))
    }

    async fn call<T, F>(&self, call: impl FnOnce(Cluster) -> F) -> Result<T, LinkError>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let faults = self.faults.get();
        self.travel().await;
        if self.is_cut_off() || self.chance.in_thousand(faults.request_lost) {
            return self.lost("the request is lost").await;
        }
        let Some(host) = self.hosts.any(&self.chance) else {
            return Err(LinkError::Unreachable("no host runs".into()));
        };
        let answer = call(host).await;
        self.travel().await;
        if self.is_cut_off() || self.chance.in_thousand(faults.answer_lost) {
            return self.lost("the answer is lost").await;
        }
        answer.map_err(LinkError::Refused)
    }
}

#[async_trait]
impl Link for LossyLink {
    async fn register(&self, register: &Register) -> Result<Registered, LinkError> {
        let (node, register) = (self.node.clone(), register.clone());
        self.call(|host| async move { host.register(&node, register).await })
            .await
    }

    async fn sync(&self, sync: &Sync) -> Result<SyncReply, LinkError> {
        let (node, sync) = (self.node.clone(), sync.clone());
        self.call(|host| async move { host.sync(&node, sync).await })
            .await
    }

    async fn send_log(&self, _: &LogOrder, _: Bytes) -> Result<(), LinkError> {
        Ok(())
    }
}
