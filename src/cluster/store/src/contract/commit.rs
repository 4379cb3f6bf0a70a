//! Transactions.

use super::{
    Arc, Ground, JoinSet, LEASE_TIME, delete, done, is_conflict, key, now, prefix, put, value,
};
use crate::{Commit, ErrorKind, Key, Prefix, Transaction};

pub(super) async fn guarded_keys_must_be_as_they_were_seen(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let make = |value: &[u8]| Transaction::new().if_absent(&a).put(&a, value);
    let first = done(store.commit(make(b"1")).await);
    assert!(is_conflict(store.commit(make(b"2")).await), "it is there");
    let change = |seen, value: &[u8]| Transaction::new().if_unchanged(&a, seen).put(&a, value);
    let second = done(store.commit(change(first, b"3")).await);
    assert!(
        is_conflict(store.commit(change(first, b"4")).await),
        "it has changed"
    );
    assert!(
        is_conflict(store.commit(change(second + 1, b"5")).await),
        "it was never seen"
    );
    assert_eq!(value(&store, &a).await.as_deref(), Some(&b"3"[..]));
    delete(&store, &a).await;
    assert!(
        is_conflict(store.commit(change(second, b"6")).await),
        "it is gone"
    );
    let made_again = done(store.commit(make(b"7")).await);
    assert!(
        is_conflict(store.commit(change(second, b"8")).await),
        "it is another one"
    );
    done(store.commit(change(made_again, b"9")).await);
}

pub(super) async fn a_transaction_is_done_whole_or_not_at_all(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let (a, b, c) = (key(&["a"]), key(&["b"]), key(&["c"]));
    put(&store, &a, b"1").await;
    let before = store.list(&Prefix::all()).await.unwrap();
    let some = |transaction: Transaction| transaction.put(&b, *b"2").put(&c, *b"2").delete(&a);
    let conflict = some(Transaction::new().if_unchanged(&b, 0).if_absent(&a));
    assert!(is_conflict(store.commit(conflict).await));
    let lease = store.grant(LEASE_TIME).await.unwrap();
    store.revoke(lease).await.unwrap();
    let gone = some(Transaction::new()).put_leased(&key(&["d"]), *b"2", lease);
    let error = store.commit(gone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseGone);
    assert_eq!(store.list(&Prefix::all()).await.unwrap(), before);
    let revision = done(store.commit(some(Transaction::new())).await);
    let after = store.list(&Prefix::all()).await.unwrap();
    let seen: Vec<_> = after
        .entries
        .iter()
        .map(|entry| (&entry.key, entry.revision))
        .collect();
    assert_eq!(seen, [(&b, revision), (&c, revision)]);
}

pub(super) async fn guards_alone_are_checked(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let revision = put(&store, &a, b"1").await;
    let seen = |revision| Transaction::new().if_unchanged(&a, revision);
    assert!(
        store
            .commit(seen(revision))
            .await
            .is_ok_and(|commit| commit != Commit::Conflict)
    );
    assert!(is_conflict(store.commit(seen(0)).await));
    let both = seen(revision).if_absent(&key(&["b"]));
    assert!(!is_conflict(store.commit(both).await));
    let neither = seen(revision).if_unchanged(&a, 0);
    assert!(
        is_conflict(store.commit(neither).await),
        "both guards count"
    );
}

pub(super) async fn a_failed_guard_is_told_before_a_lease_that_has_ended(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    put(&store, &a, b"1").await;
    let lease = store.grant(LEASE_TIME).await.unwrap();
    store.revoke(lease).await.unwrap();
    let both = Transaction::new()
        .if_absent(&a)
        .put_leased(&a, *b"2", lease);
    assert!(is_conflict(store.commit(both).await));
}

pub(super) async fn revisions_grow_and_are_those_of_the_transaction(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let mut last = now(&store).await;
    for number in 0..20 {
        let number = number.to_string();
        let (one, other) = (key(&["a", &number]), key(&["b"]));
        let both = Transaction::new().put(&one, *b"1").put(&other, *b"1");
        let revision = done(store.commit(both).await);
        assert!(revision > last, "{revision} after {last}");
        for key in [&one, &other] {
            let entry = store.get(key).await.unwrap().unwrap();
            assert_eq!((&entry.key, entry.revision), (key, revision));
        }
        assert!(now(&store).await >= revision);
        last = revision;
    }
    assert!(delete(&store, &key(&["b"])).await > last);
}

pub(super) async fn what_changes_nothing_takes_no_revision(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let first = put(&store, &a, b"1").await;
    let mut watch = store.watch(&Prefix::all(), first).await.unwrap();
    // Where others write into the same etcd its revision grows by itself; ours is not told.
    delete(&store, &key(&["b"])).await;
    done(store.commit(Transaction::new()).await);
    let many = Transaction::new().delete(&key(&["b"])).delete(&key(&["c"]));
    done(store.commit(many).await);
    let second = put(&store, &a, b"1").await;
    assert!(second > first, "the same text again is a change");
    let batch = super::next(&mut watch).await;
    assert_eq!((batch.revision, batch.changes.len()), (second, 1));
}

pub(super) async fn a_key_named_twice_is_written_as_was_said_last(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let (a, b) = (key(&["a"]), key(&["b"]));
    let twice = Transaction::new()
        .put(&a, *b"1")
        .put(&b, *b"1")
        .delete(&b)
        .put(&a, *b"2");
    done(store.commit(twice).await);
    assert_eq!(value(&store, &a).await.as_deref(), Some(&b"2"[..]));
    assert_eq!(value(&store, &b).await, None);
}

pub(super) async fn a_transaction_has_bounds_and_may_be_as_large_as_they_are(
    ground: Arc<dyn Ground>,
) {
    let store = ground.store().await;
    let numbered = |count: usize| {
        let keys = (0..count).map(|number| key(&["many", &number.to_string()]));
        keys.fold(Transaction::new(), |all, key| all.put(&key, *b"1"))
    };
    let many = numbered(Transaction::MAX_LEN);
    done(store.commit(many.clone()).await);
    let listed = store.list(&prefix(&["many"])).await.unwrap();
    assert_eq!(listed.entries.len(), Transaction::MAX_LEN);
    let guarded = many.if_absent(&key(&["a"]));
    for too_many in [guarded, numbered(Transaction::MAX_LEN + 1)] {
        let error = store.commit(too_many).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
    let a = key(&["a"]);
    let large = vec![7; Transaction::MAX_BYTES - a.as_str().len()];
    put(&store, &a, &large).await;
    assert_eq!(value(&store, &a).await, Some(large.clone()));
    let too_large = [large, vec![7]].concat();
    let error = store
        .commit(Transaction::new().put(&a, too_large))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

pub(super) async fn keys_and_texts_may_be_strange(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let long = "n".repeat(Key::MAX_LEN);
    let keys: [&[&str]; 9] = [
        &["a"],
        &["a", "b"],
        &["a", "b", "c"],
        &["a-b"],
        &["A"],
        &["..", "."],
        &["\u{e9}\u{1f98a}", " "],
        &["%00", "*", "\"'\\"],
        &[&long],
    ];
    let texts: [&[u8]; 5] = [b"", b"\0", b"\xff\xfe\x80", b"{\"a\":1}\n", &[0; 5000]];
    for (number, words) in keys.iter().enumerate() {
        put(&store, &key(words), texts[number % texts.len()]).await;
    }
    for (number, words) in keys.iter().enumerate() {
        let text = value(&store, &key(words)).await;
        assert_eq!(
            text.as_deref(),
            Some(texts[number % texts.len()]),
            "{words:?}"
        );
    }
    let mut expected: Vec<_> = keys.iter().map(|words| key(words)).collect();
    expected.sort();
    let listed = store.list(&Prefix::all()).await.unwrap();
    let listed: Vec<_> = listed.entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(listed, expected);
}

pub(super) async fn counters_lose_no_increment(ground: Arc<dyn Ground>) {
    const TASKS: usize = 8;
    const EACH: usize = 25;
    let store = ground.store().await;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (store, a) = (Arc::clone(&store), key(&["counter"]));
        tasks.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let seen = store.get(&a).await.unwrap();
                let revision = seen.as_ref().map_or(0, |seen| seen.revision);
                let count = seen.map_or(0, |seen| {
                    let text = String::from_utf8(seen.value.to_vec()).unwrap();
                    text.parse::<usize>().unwrap()
                });
                let next = (count + 1).to_string().into_bytes();
                let add = Transaction::new().if_unchanged(&a, revision).put(&a, next);
                done += usize::from(!is_conflict(store.commit(add).await));
            }
        });
    }
    tasks.join_all().await;
    let count = (TASKS * EACH).to_string().into_bytes();
    assert_eq!(value(&store, &key(&["counter"])).await, Some(count));
}
