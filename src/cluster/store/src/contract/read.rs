//! Reading.

use super::{Arc, Ground, JoinSet, done, key, now, prefix, put, value};
use crate::{Listing, Prefix, Transaction};

pub(super) async fn what_was_answered_is_seen(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    assert_eq!(store.get(&a).await.unwrap(), None);
    for number in 0..20_u8 {
        let revision = put(&store, &a, &[number]).await;
        assert_eq!(value(&store, &a).await, Some(vec![number]));
        let listed = store.list(&Prefix::all()).await.unwrap();
        assert!(listed.revision >= revision);
        assert_eq!(listed.entries.len(), 1);
        assert_eq!(*listed.entries[0].value, [number]);
    }
}

pub(super) async fn a_listing_is_sorted_and_has_what_is_below(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let keys: [&[&str]; 8] = [
        &["b"],
        &["a", "c"],
        &["a", "b", "d"],
        &["a", "b"],
        &["a-"],
        &["a0"],
        &["aa"],
        &["a"],
    ];
    for words in keys {
        put(&store, &key(words), b"").await;
    }
    for (words, expected) in [
        (&["a"][..], &["a/b", "a/b/d", "a/c"][..]),
        (&["a", "b"], &["a/b/d"]),
        (&["b"], &[]),
        (&["c"], &[]),
    ] {
        assert_eq!(
            keys_of(&store.list(&prefix(words)).await.unwrap()),
            expected,
            "{words:?}"
        );
    }
    let all = store.list(&Prefix::all()).await.unwrap();
    assert_eq!(
        keys_of(&all),
        ["a", "a-", "a/b", "a/b/d", "a/c", "a0", "aa", "b"]
    );
}

fn keys_of(listing: &Listing) -> Vec<&str> {
    let keys = listing.entries.iter().map(|entry| entry.key.as_str());
    keys.collect()
}

/// A token is moved about; every listing has it once.
pub(super) async fn a_listing_is_of_one_moment(ground: Arc<dyn Ground>) {
    const PLACES: usize = 600;
    let store = ground.store().await;
    let place = |number: usize| key(&["places", &format!("{:03}", number % PLACES)]);
    put(&store, &place(0), b"token").await;
    let mut tasks = JoinSet::new();
    let mover = Arc::clone(&store);
    tasks.spawn(async move {
        for number in 0..300 {
            // Far, so that pages are read while it moves from one to another.
            let (from, to) = (place(number * 301), place((number + 1) * 301));
            let moved = Transaction::new().delete(&from).put(&to, *b"token");
            done(mover.commit(moved).await);
        }
    });
    let mut last = 0;
    while !tasks.is_empty() {
        let listed = store.list(&prefix(&["places"])).await.unwrap();
        assert_eq!(listed.entries.len(), 1, "{listed:?}");
        assert!(listed.entries[0].revision <= listed.revision);
        assert!(listed.revision >= last);
        last = listed.revision;
        if let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
        tokio::task::yield_now().await;
    }
}

pub(super) async fn a_long_listing_is_whole(ground: Arc<dyn Ground>) {
    const COUNT: usize = 2_500;
    let store = ground.store().await;
    let numbers: Vec<usize> = (0..COUNT).collect();
    for some in numbers.chunks(Transaction::MAX_LEN) {
        let put = some.iter().fold(Transaction::new(), |all, number| {
            all.put(
                &key(&["long", &format!("{number:05}")]),
                number.to_string().into_bytes(),
            )
        });
        done(store.commit(put).await);
    }
    // Some are so large that fewer fit into one message.
    for number in 0..9 {
        put(
            &store,
            &key(&["long", &format!("0{number}000")]),
            &vec![7; 900_000],
        )
        .await;
    }
    let listed = store.list(&prefix(&["long"])).await.unwrap();
    assert!(listed.revision <= now(&store).await);
    let large = listed
        .entries
        .iter()
        .filter(|entry| entry.value.len() == 900_000);
    assert_eq!(large.count(), 9);
    let keys = listed
        .entries
        .iter()
        .map(|entry| entry.key.last_word().to_owned());
    let expected: std::collections::BTreeSet<_> = (0..COUNT)
        .map(|number| format!("{number:05}"))
        .chain((0..9).map(|number| format!("0{number}000")))
        .collect();
    assert!(keys.eq(expected), "sorted, and all of them");
}
