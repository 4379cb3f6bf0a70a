//! Stores that end, and are there again.

use std::collections::BTreeMap;

use super::{
    Arc, Ground, LEASE_TIME, delete, done, is_conflict, key, lease, now, put, put_leased, texts,
    value, within,
};
use crate::{ErrorKind, Prefix, Transaction};

pub(super) async fn what_was_answered_is_there_after_a_restart(ground: Arc<dyn Ground>) {
    let mut store = ground.store().await;
    let mut expected = BTreeMap::new();
    for round in 0..3_u8 {
        for number in 0..40_u8 {
            let key = key(&["a", &(number % 25).to_string()]);
            if number % 7 == 0 {
                delete(&store, &key).await;
                expected.remove(&key);
            } else {
                put(&store, &key, &[round, number]).await;
                expected.insert(key, [round, number].to_vec());
            }
        }
        store = ground.restart(store).await;
        let listed = store.list(&Prefix::all()).await.unwrap().entries;
        let listed = listed
            .into_iter()
            .map(|entry| (entry.key, entry.value.to_vec()));
        assert_eq!(
            listed.collect::<BTreeMap<_, _>>(),
            expected,
            "round {round}"
        );
    }
}

pub(super) async fn revisions_grow_over_a_restart(ground: Arc<dyn Ground>) {
    let (mut store, a) = (ground.store().await, key(&["a"]));
    let lease = store.grant(LEASE_TIME * 60).await.unwrap();
    let kept = put(&store, &a, b"1").await;
    let mut last = kept;
    for _ in 0..3 {
        // Also those of what does not stay.
        if let Ok(commit) = leased(&store, lease).await {
            last = done(Ok(commit));
        }
        store = ground.restart(store).await;
        let entry = store.get(&a).await.unwrap().unwrap();
        assert_eq!(
            entry.revision, kept,
            "what has not changed was not written again"
        );
        assert!(now(&store).await >= last);
        let next = put(&store, &key(&["b"]), b"1").await;
        assert!(next > last, "{next} after {last}");
        last = next;
    }
    let guarded = Transaction::new().if_unchanged(&a, kept).put(&a, *b"2");
    done(store.commit(guarded.clone()).await);
    assert!(is_conflict(store.commit(guarded).await));
}

async fn leased(
    store: &Arc<dyn crate::Store>,
    lease: crate::Lease,
) -> crate::Result<crate::Commit> {
    let put = Transaction::new().put_leased(&key(&["leased"]), *b"1", lease);
    store.commit(put).await
}

pub(super) async fn what_goes_with_a_lease_is_gone_after_a_restart_or_ends_with_it(
    ground: Arc<dyn Ground>,
) {
    let store = ground.store().await;
    let (leased, replaced) = (key(&["leased"]), key(&["replaced"]));
    put(&store, &replaced, b"before").await;
    let lease = store.grant(LEASE_TIME).await.unwrap();
    put_leased(&store, &leased, b"1", lease).await;
    put_leased(&store, &replaced, b"1", lease).await;
    let store = ground.restart(store).await;
    match store.renew(lease).await {
        Ok(()) => assert!(value(&store, &leased).await.is_some()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::LeaseGone),
    }
    lease::is_gone_soon(&store, &leased).await;
    lease::is_gone_soon(&store, &replaced).await;
    let other = store.grant(LEASE_TIME * 60).await.unwrap();
    assert_ne!(other, lease, "a lease of before is not one of now");
}

pub(super) async fn a_watch_goes_on_after_a_restart_or_is_compacted(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let seen = put(&store, &a, b"1").await;
    let mut watch = store.watch(&Prefix::all(), seen).await.unwrap();
    put(&store, &a, b"2").await;
    let store = ground.restart(store).await;
    // It ends, and does not wait for what will never be told. What it knew it tells before.
    let ended = within(super::SOON, async {
        loop {
            match watch.next().await {
                Ok(batch) => assert_eq!(texts(&batch), ["a=2"]),
                Err(error) => return error,
            }
        }
    });
    assert_eq!(ended.await.kind(), ErrorKind::Unavailable);
    let mut missed = Vec::new();
    match store.watch(&Prefix::all(), seen).await {
        Ok(mut watch) => missed.extend(texts(&super::next(&mut watch).await)),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Compacted);
            missed.push(format!(
                "a={}",
                String::from_utf8_lossy(&value(&store, &a).await.unwrap())
            ));
        }
    }
    assert_eq!(missed, ["a=2"]);
}
