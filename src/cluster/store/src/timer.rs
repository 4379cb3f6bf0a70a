//! The timer: ends leases when their time is over, so that whoever watches is told without asking.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::limits::END_PAUSE;

/// Whoever has leases that end.
#[async_trait]
pub(crate) trait Ends: Send + Sync + 'static {
    /// When the next lease ends.
    fn next_end(&self) -> Option<Instant>;

    /// Ends those whose time is over, as far as that can be done now.
    async fn end_due(&self, now: Instant);
}

/// Ends leases when their time is over. It ends with its owner.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    granted: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Timer {
    /// That there is a lease which may end before the others. Where there is no runtime to wait in,
    /// leases end when somebody asks.
    pub(crate) fn watch_over<S: Ends>(&self, store: &Arc<S>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        self.granted.notify_one();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // A runtime ends with all its tasks, and a store may live longer.
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let (store, granted) = (Arc::downgrade(store), Arc::clone(&self.granted));
            *task = Some(runtime.spawn(end_leases(store, granted)));
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
}

async fn end_leases<S: Ends>(store: Weak<S>, granted: Arc<Notify>) {
    loop {
        let Some(next) = store.upgrade().map(|store| store.next_end()) else {
            return;
        };
        let over = async {
            match next {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => {}
            () = granted.notified() => continue,
        }
        let Some(store) = store.upgrade() else {
            return;
        };
        let now = Instant::now();
        store.end_due(now).await;
        if store.next_end().is_some_and(|end| end <= now) {
            drop(store);
            sleep(END_PAUSE).await;
        }
    }
}
