//! What every store promises, as cases to be run on each of them.
//!
//! A [`Ground`] makes the stores; each of [`CASES`] is run on stores of its own. A case panics where
//! a promise is not kept. `tests/contract.rs` runs all of them on all stores.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a case that cannot go on shall end"
)]

mod commit;
mod lease;
mod model;
mod read;
mod restart;
mod watch;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::limits::HISTORY_LEN;
use crate::{
    Batch, Commit, Key, Lease, Prefix, Result, Revision, Store, Transaction, Watch, WatchedChange,
};

/// Where stores are made.
#[async_trait]
pub trait Ground: Send + Sync {
    /// A store with nothing in it.
    async fn store(&self) -> Arc<dyn Store>;

    /// Ends the only store that was made, and lets it be there again with what was in it. Where
    /// that cannot be, [`RESTART_CASES`] cannot be run.
    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        panic!("{store:?} is not there again after its end")
    }

    /// Lets a store forget the changes up to now, as far as watchers could ask for them.
    async fn forget(&self, store: &Arc<dyn Store>) {
        let mut writers = JoinSet::new();
        for writer in 0..64 {
            let (store, key) = (Arc::clone(store), key(&["forget", &writer.to_string()]));
            writers.spawn(async move {
                for _ in 0..HISTORY_LEN.div_ceil(64) + 1 {
                    put(&store, &key, b"").await;
                }
            });
        }
        writers.join_all().await;
    }
}

/// One promise.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is promised.
    pub name: &'static str,
    run: fn(Arc<dyn Ground>) -> Running,
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Case {
    /// Runs it, and panics where the promise is not kept. It needs a runtime of tokio with time.
    pub async fn run(&self, ground: Arc<dyn Ground>) {
        within(CASE_TIME, (self.run)(ground)).await;
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

macro_rules! cases {
    ($($module:ident::$name:ident),+ $(,)?) => {
        [$(Case {
            name: stringify!($name),
            run: |ground| Box::pin($module::$name(ground)),
        }),+]
    };
}

/// Every promise that is kept without an end in between.
pub const CASES: &[Case] = &cases![
    commit::guarded_keys_must_be_as_they_were_seen,
    commit::a_transaction_is_done_whole_or_not_at_all,
    commit::guards_alone_are_checked,
    commit::a_failed_guard_is_told_before_a_lease_that_has_ended,
    commit::revisions_grow_and_are_those_of_the_transaction,
    commit::what_changes_nothing_takes_no_revision,
    commit::a_key_named_twice_is_written_as_was_said_last,
    commit::a_transaction_has_bounds_and_may_be_as_large_as_they_are,
    commit::keys_and_texts_may_be_strange,
    commit::counters_lose_no_increment,
    read::what_was_answered_is_seen,
    read::a_listing_is_sorted_and_has_what_is_below,
    read::a_listing_is_of_one_moment,
    read::a_long_listing_is_whole,
    watch::changes_are_told_in_order_and_without_a_gap,
    watch::a_transaction_is_told_in_one_batch_by_key,
    watch::what_is_not_below_is_not_told,
    watch::a_watch_begins_in_the_past_or_now,
    watch::a_watch_goes_on_where_another_ended,
    watch::a_watch_that_is_not_waited_for_loses_nothing,
    watch::large_changes_of_the_past_are_told,
    watch::a_slow_reader_gets_an_error_and_never_a_gap,
    watch::many_watch_and_see_the_same,
    watch::what_is_no_longer_known_is_compacted,
    watch::a_revision_that_was_not_reached_is_compacted,
    lease::a_lease_ends_by_itself_and_those_who_watch_are_told,
    lease::a_lease_that_is_renewed_does_not_end,
    lease::a_revoked_lease_takes_along_what_was_put_under_it,
    lease::a_lease_that_has_ended_is_gone,
    lease::what_was_put_again_goes_with_its_last_lease,
    lease::a_text_under_a_lease_replaces_another_for_good,
    lease::a_lease_is_bounded_in_time,
    model::random_transactions_do_what_a_map_does,
];

/// Every promise about a store that ends and is there again.
pub const RESTART_CASES: &[Case] = &cases![
    restart::what_was_answered_is_there_after_a_restart,
    restart::revisions_grow_over_a_restart,
    restart::what_goes_with_a_lease_is_gone_after_a_restart_or_ends_with_it,
    restart::a_watch_goes_on_after_a_restart_or_is_compacted,
    model::random_transactions_do_what_a_map_does_over_restarts,
];

/// Longest that one case may take: the random ones on a slow disk.
const CASE_TIME: Duration = Duration::from_secs(120);
/// Longest that anything may take which happens at once.
const SOON: Duration = Duration::from_secs(20);
/// A time that a lease may have with every store, and in which a machine with much to do gets
/// around to a few calls.
const LEASE_TIME: Duration = Duration::from_secs(3);

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    let done = timeout(limit, future).await;
    done.unwrap_or_else(|_| panic!("it took longer than {limit:?}"))
}

fn key(words: &[&str]) -> Key {
    Key::new(words).unwrap()
}

fn prefix(words: &[&str]) -> Prefix {
    Prefix::new(words).unwrap()
}

/// The revision of a transaction that was done.
fn done(commit: Result<Commit>) -> Revision {
    match commit.unwrap() {
        Commit::Done(revision) => revision,
        Commit::Conflict => panic!("a conflict"),
    }
}

fn is_conflict(commit: Result<Commit>) -> bool {
    commit.unwrap() == Commit::Conflict
}

async fn put(store: &Arc<dyn Store>, key: &Key, value: &[u8]) -> Revision {
    done(store.commit(Transaction::new().put(key, value)).await)
}

async fn put_leased(store: &Arc<dyn Store>, key: &Key, value: &[u8], lease: Lease) -> Revision {
    done(
        store
            .commit(Transaction::new().put_leased(key, value, lease))
            .await,
    )
}

async fn delete(store: &Arc<dyn Store>, key: &Key) -> Revision {
    done(store.commit(Transaction::new().delete(key)).await)
}

/// What stands under a key.
async fn value(store: &Arc<dyn Store>, key: &Key) -> Option<Vec<u8>> {
    let entry = store.get(key).await.unwrap();
    entry.map(|entry| entry.value.to_vec())
}

/// The revision up to which all is seen.
async fn now(store: &Arc<dyn Store>) -> Revision {
    store.list(&Prefix::all()).await.unwrap().revision
}

async fn watch(store: &Arc<dyn Store>, prefix: &Prefix, after: Revision) -> Watch {
    store.watch(prefix, after).await.unwrap()
}

async fn next(watch: &mut Watch) -> Batch {
    within(SOON, watch.next()).await.unwrap()
}

/// A change as a text, to be compared: `key=value`, or `key!` where it was removed.
fn text(change: &WatchedChange) -> String {
    match change {
        WatchedChange::Put(entry) => {
            format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value))
        }
        WatchedChange::Deleted(key) => format!("{key}!"),
    }
}

fn texts(batch: &Batch) -> Vec<String> {
    batch.changes.iter().map(text).collect()
}
