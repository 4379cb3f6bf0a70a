//! A side that a node does not have: it runs nothing, and says why.

use async_trait::async_trait;
use vfioctl_api::{LogOrder, Order};

use super::{Side, SideReport};
use crate::link::Bytes;
use crate::world::{Backend, Begin, Found, Running, StartError, Unknown};

/// A side that a node does not have.
#[derive(Debug, Clone)]
pub struct Absent {
    reason: String,
}

impl Absent {
    /// A side that is not there, for a reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

#[async_trait]
impl Side for Absent {
    async fn look(&self) -> SideReport {
        SideReport::none(&self.reason)
    }

    async fn read_log(&self, _: &LogOrder) -> Result<Option<Bytes>, String> {
        Ok(None)
    }
}

#[async_trait]
impl Backend for Absent {
    async fn start(&self, _: &Order, _: &Begin) -> Result<(), StartError> {
        Err(StartError::not_now(&self.reason))
    }

    /// It ran once, when there was something to run it; whether it does is not known.
    async fn find(&self, _: &Order) -> Result<Found, Unknown> {
        Err(Unknown(self.reason.clone()))
    }

    async fn wait(&self, _: &Order, _: &Running) -> Result<Found, Unknown> {
        Err(Unknown(self.reason.clone()))
    }

    async fn end(&self, _: &Order, _: bool) -> Result<(), Unknown> {
        Err(Unknown(self.reason.clone()))
    }

    async fn settle(&self, _: &Order) -> Result<(), Unknown> {
        Ok(())
    }

    async fn remove(&self, _: &Order) -> Result<(), Unknown> {
        Ok(())
    }
}
