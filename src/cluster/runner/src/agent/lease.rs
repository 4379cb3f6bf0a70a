//! The lease: until when new work may be begun.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::LEASE_MARGIN;

/// Until when new work may be begun.
#[derive(Debug, Default)]
pub(super) struct Lease {
    times: Mutex<Times>,
    renewed: Notify,
}

#[derive(Debug, Default)]
struct Times {
    length: Duration,
    ends: Option<Instant>,
}

impl Lease {
    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host has been heard; `sent` is when it was asked.
    pub(super) fn renew(&self, sent: Instant, length: Duration) {
        {
            let mut times = self.lock();
            times.length = length;
            times.ends = Some(sent + length.saturating_sub(LEASE_MARGIN));
        }
        self.renewed.notify_waiters();
    }

    /// The same, with the length of before.
    pub(super) fn renew_again(&self, sent: Instant) {
        let length = self.lock().length;
        self.renew(sent, length);
    }

    fn is_valid(&self) -> bool {
        self.lock().ends.is_some_and(|ends| Instant::now() < ends)
    }

    /// Waits until new work may be begun.
    pub(super) async fn valid(&self) {
        loop {
            let renewed = self.renewed.notified();
            tokio::pin!(renewed);
            renewed.as_mut().enable();
            if self.is_valid() {
                return;
            }
            renewed.await;
        }
    }
}
