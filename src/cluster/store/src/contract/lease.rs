//! Leases.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Arc, Ground, LEASE_TIME, delete, key, next, now, prefix, put, put_leased, texts, value, watch,
};
use crate::{ErrorKind, Key, Prefix, Store, Transaction};

/// How much later than its time a lease may end: etcd looks twice a second, and waits a moment for
/// whoever was slow.
const LATE: Duration = Duration::from_secs(5);

pub(super) async fn a_lease_ends_by_itself_and_those_who_watch_are_told(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    put(&store, &key(&["a", "stays"]), b"1").await;
    let (start, lease) = (Instant::now(), store.grant(LEASE_TIME).await.unwrap());
    let mut watch = watch(&store, &prefix(&["a"]), now(&store).await).await;
    for word in ["c", "b", "d"] {
        put_leased(&store, &key(&["a", word]), b"1", lease).await;
        next(&mut watch).await;
    }
    // Nobody asks anything meanwhile.
    let batch = next(&mut watch).await;
    let after = start.elapsed();
    assert_eq!(texts(&batch), ["a/b!", "a/c!", "a/d!"]);
    assert!(
        after >= LEASE_TIME && after < LEASE_TIME + LATE,
        "{after:?}"
    );
    let listed = store.list(&Prefix::all()).await.unwrap();
    assert_eq!(listed.entries.len(), 1);
    assert!(listed.revision >= batch.revision);
    assert_eq!(renewal_error(&store, lease).await, ErrorKind::LeaseGone);
}

pub(super) async fn a_lease_that_is_renewed_does_not_end(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let lease = store.grant(LEASE_TIME).await.unwrap();
    put_leased(&store, &a, b"1", lease).await;
    let start = Instant::now();
    while start.elapsed() < 2 * LEASE_TIME {
        sleep(LEASE_TIME / 6).await;
        store.renew(lease).await.unwrap();
        assert!(value(&store, &a).await.is_some());
    }
    is_gone_soon(&store, &a).await;
}

pub(super) async fn a_revoked_lease_takes_along_what_was_put_under_it(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let both = Transaction::new()
        .put_leased(&key(&["a"]), *b"1", lease)
        .put_leased(&key(&["b"]), *b"1", lease)
        .put(&key(&["c"]), *b"1");
    super::done(store.commit(both).await);
    let mut watch = watch(&store, &Prefix::all(), now(&store).await).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(value(&store, &key(&["a"])).await, None);
    assert_eq!(value(&store, &key(&["c"])).await, Some(b"1".to_vec()));
    assert_eq!(texts(&next(&mut watch).await), ["a!", "b!"]);
    store.revoke(lease).await.unwrap();
}

pub(super) async fn a_lease_that_has_ended_is_gone(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    store.revoke(lease).await.unwrap();
    assert_eq!(renewal_error(&store, lease).await, ErrorKind::LeaseGone);
    let late = Transaction::new().put_leased(&a, *b"1", lease);
    assert_eq!(
        store.commit(late).await.unwrap_err().kind(),
        ErrorKind::LeaseGone
    );
    assert_eq!(value(&store, &a).await, None);
    let other = store.grant(Duration::from_secs(60)).await.unwrap();
    assert_ne!(other, lease);
    put_leased(&store, &a, b"2", other).await;
    store.revoke(lease).await.unwrap();
    assert!(value(&store, &a).await.is_some(), "it goes with the other");
    store.revoke(other).await.unwrap();
}

pub(super) async fn what_was_put_again_goes_with_its_last_lease(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let (one, other) = (
        store.grant(Duration::from_secs(60)).await.unwrap(),
        store.grant(Duration::from_secs(60)).await.unwrap(),
    );
    let (moved, kept, removed) = (key(&["moved"]), key(&["kept"]), key(&["removed"]));
    for key in [&moved, &kept, &removed] {
        put_leased(&store, key, b"1", one).await;
    }
    put_leased(&store, &moved, b"2", other).await;
    put(&store, &kept, b"2").await;
    delete(&store, &removed).await;
    put(&store, &removed, b"2").await;
    store.revoke(one).await.unwrap();
    for key in [&moved, &kept, &removed] {
        assert_eq!(value(&store, key).await, Some(b"2".to_vec()), "{key}");
    }
    store.revoke(other).await.unwrap();
    assert_eq!(value(&store, &moved).await, None);
    assert!(value(&store, &kept).await.is_some());
}

pub(super) async fn a_text_under_a_lease_replaces_another_for_good(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    put(&store, &a, b"before").await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    put_leased(&store, &a, b"leased", lease).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(value(&store, &a).await, None);
}

pub(super) async fn a_lease_is_bounded_in_time(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let error = store.grant(Duration::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let shortest = store.grant(Duration::ZERO).await.unwrap();
    let a = key(&["a"]);
    // It may have ended by now; a store that gives it longer has to end it.
    let put = store
        .commit(Transaction::new().put_leased(&a, *b"1", shortest))
        .await;
    assert!(put.is_ok() || put.is_err_and(|error| error.kind() == ErrorKind::LeaseGone));
    is_gone_soon(&store, &a).await;
}

async fn renewal_error(store: &Arc<dyn Store>, lease: crate::Lease) -> ErrorKind {
    store.renew(lease).await.unwrap_err().kind()
}

pub(super) async fn is_gone_soon(store: &Arc<dyn Store>, key: &Key) {
    let start = Instant::now();
    while value(store, key).await.is_some() {
        assert!(start.elapsed() < LEASE_TIME + LATE, "{key} is still there");
        sleep(Duration::from_millis(20)).await;
    }
}
