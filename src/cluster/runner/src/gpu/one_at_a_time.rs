//! Work that may hang: done off the threads that everybody shares, one piece at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

/// Work that may hang, one piece at a time: where one does, no other is begun beside it.
#[derive(Debug, Default)]
pub(super) struct OneAtATime(Arc<Mutex<()>>);

impl OneAtATime {
    /// Does a piece of work and waits for it, but not longer than the limit; it goes on by itself after
    /// that.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.0);
        let whole = async move {
            let turn = turn.lock_owned().await;
            let done = tokio::task::spawn_blocking(move || {
                let done = work();
                drop(turn);
                done
            });
            done.await.ok()
        };
        timeout(limit, whole).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_not_waited_for_and_has_no_company() {
        let work = OneAtATime::default();
        let (begun, began) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let limit = Duration::from_millis(50);
        let hangs = work.run(limit, move || {
            begun.send(()).unwrap();
            ended.recv().unwrap();
        });
        assert_eq!(hangs.await, None);
        began.recv().unwrap();
        assert_eq!(work.run(limit, || 7).await, None);
        end.send(()).unwrap();
        assert_eq!(work.run(Duration::from_secs(20), || 7).await, Some(7));
    }
}
