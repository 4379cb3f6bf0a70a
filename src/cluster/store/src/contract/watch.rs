//! Watches.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    Arc, Ground, JoinSet, SOON, delete, done, key, next, now, prefix, put, texts, watch, within,
};
use crate::limits::WATCH_BUFFER;
use crate::{ErrorKind, Prefix, Revision, Store, Transaction};

pub(super) async fn changes_are_told_in_order_and_without_a_gap(ground: Arc<dyn Ground>) {
    const TASKS: usize = 4;
    const EACH: usize = 60;
    let store = ground.store().await;
    let mut watch = watch(&store, &prefix(&["a"]), now(&store).await).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, a) = (Arc::clone(&store), key(&["a", &task.to_string()]));
        tasks.spawn(async move {
            let mut revisions = Vec::new();
            for number in 0..EACH {
                revisions.push(put(&store, &a, number.to_string().as_bytes()).await);
            }
            revisions
        });
    }
    let mut seen = Vec::new();
    let mut counts = [0; TASKS];
    while seen.len() < TASKS * EACH {
        let batch = next(&mut watch).await;
        assert!(seen.last() < Some(&batch.revision), "in order");
        for text in texts(&batch) {
            let (key, number) = text.split_once('=').unwrap();
            let task: usize = key.strip_prefix("a/").unwrap().parse().unwrap();
            assert_eq!(number.parse(), Ok(counts[task]), "nothing left out");
            counts[task] += 1;
        }
        seen.push(batch.revision);
    }
    let mut expected: Vec<Revision> = tasks.join_all().await.concat();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

pub(super) async fn a_transaction_is_told_in_one_batch_by_key(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    put(&store, &key(&["b"]), b"0").await;
    let mut watch = watch(&store, &Prefix::all(), now(&store).await).await;
    let many = Transaction::new()
        .put(&key(&["c"]), *b"1")
        .delete(&key(&["b"]))
        .delete(&key(&["nothing"]))
        .put(&key(&["a"]), *b"1");
    let revision = done(store.commit(many).await);
    let batch = next(&mut watch).await;
    assert_eq!(batch.revision, revision);
    assert_eq!(texts(&batch), ["a=1", "b!", "c=1"]);
    let large = (0..Transaction::MAX_LEN).fold(Transaction::new(), |all, number| {
        all.put(&key(&["n", &format!("{number:03}")]), vec![b'x'; 8_000])
    });
    let revision = done(store.commit(large).await);
    let batch = next(&mut watch).await;
    assert_eq!(
        (batch.revision, batch.changes.len()),
        (revision, Transaction::MAX_LEN)
    );
    assert!(
        batch
            .changes
            .is_sorted_by_key(|change| change.key().clone())
    );
}

pub(super) async fn what_is_not_below_is_not_told(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    let mut watch = watch(&store, &prefix(&["a"]), now(&store).await).await;
    for words in [
        &["a"][..],
        &["a-", "b"],
        &["aa", "b"],
        &["a0"],
        &["b", "a", "c"],
    ] {
        put(&store, &key(words), b"1").await;
    }
    let both = Transaction::new()
        .put(&key(&["b"]), *b"2")
        .put(&key(&["a", "b"]), *b"2");
    done(store.commit(both).await);
    assert_eq!(texts(&next(&mut watch).await), ["a/b=2"]);
}

pub(super) async fn a_watch_begins_in_the_past_or_now(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let start = now(&store).await;
    let first = put(&store, &a, b"1").await;
    let second = put(&store, &a, b"2").await;
    delete(&store, &a).await;
    let end = now(&store).await;
    let mut from_start = watch(&store, &Prefix::all(), start).await;
    let mut from_first = watch(&store, &Prefix::all(), first).await;
    let mut from_second = watch(&store, &Prefix::all(), second).await;
    let mut from_now = watch(&store, &Prefix::all(), end).await;
    put(&store, &a, b"3").await;
    for (watch, expected) in [
        (&mut from_start, &["a=1", "a=2", "a!", "a=3"][..]),
        (&mut from_first, &["a=2", "a!", "a=3"]),
        (&mut from_second, &["a!", "a=3"]),
        (&mut from_now, &["a=3"]),
    ] {
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.extend(texts(&next(watch).await));
        }
        assert_eq!(seen, expected);
    }
}

pub(super) async fn a_watch_goes_on_where_another_ended(ground: Arc<dyn Ground>) {
    const COUNT: usize = 150;
    let (store, a) = (ground.store().await, key(&["a"]));
    let mut last = now(&store).await;
    let mut tasks = JoinSet::new();
    let writer = Arc::clone(&store);
    tasks.spawn(async move {
        for number in 0..COUNT {
            put(&writer, &a, number.to_string().as_bytes()).await;
        }
    });
    let mut seen = Vec::new();
    while seen.len() < COUNT {
        let mut watch = watch(&store, &Prefix::all(), last).await;
        for _ in 0..7 {
            if seen.len() == COUNT {
                break;
            }
            let batch = next(&mut watch).await;
            last = batch.revision;
            seen.extend(texts(&batch));
        }
    }
    let expected = (0..COUNT).map(|number| format!("a={number}"));
    assert!(seen.into_iter().eq(expected));
    tasks.join_all().await;
}

/// As in a loop that waits for several things at once.
pub(super) async fn a_watch_that_is_not_waited_for_loses_nothing(ground: Arc<dyn Ground>) {
    const COUNT: usize = 60;
    let (store, a) = (ground.store().await, key(&["a"]));
    let mut watch = watch(&store, &Prefix::all(), now(&store).await).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for number in 0..COUNT {
            put(&store, &a, number.to_string().as_bytes()).await;
        }
    });
    let mut seen = Vec::new();
    while seen.len() < COUNT {
        if let Ok(batch) = timeout(Duration::from_micros(50), watch.next()).await {
            seen.extend(texts(&batch.unwrap()));
        }
    }
    let expected = (0..COUNT).map(|number| format!("a={number}"));
    assert!(seen.into_iter().eq(expected));
}

pub(super) async fn large_changes_of_the_past_are_told(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let start = now(&store).await;
    for number in 0..9 {
        put(&store, &a, &vec![number; 1_000_000]).await;
    }
    let mut watch = watch(&store, &Prefix::all(), start).await;
    for number in 0..9 {
        let batch = next(&mut watch).await;
        let texts = texts(&batch);
        assert_eq!(texts[0].len(), 1_000_002);
        assert_eq!(texts[0].as_bytes().last(), Some(&number));
    }
}

/// One who does not read while far more happens than is held for him.
pub(super) async fn a_slow_reader_gets_an_error_and_never_a_gap(ground: Arc<dyn Ground>) {
    const COUNT: usize = 3 * WATCH_BUFFER;
    let store = ground.store().await;
    let mut last = now(&store).await;
    let mut watch = watch(&store, &prefix(&["a"]), last).await;
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut revisions = Vec::new();
            for number in 0..COUNT / 16 {
                let key = key(&["a", &task.to_string()]);
                revisions.push(put(&store, &key, number.to_string().as_bytes()).await);
            }
            revisions
        });
    }
    let mut expected: Vec<Revision> = tasks.join_all().await.concat();
    expected.sort_unstable();
    // Longer than any store waits for a reader.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let mut seen = Vec::new();
    let error = loop {
        match within(SOON, watch.next()).await {
            Ok(batch) => {
                last = batch.revision;
                seen.push(batch.revision);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Slow, "{error}");
    assert!(
        !seen.is_empty() && expected.starts_with(&seen),
        "{} seen",
        seen.len()
    );
    let mut again = store.watch(&prefix(&["a"]), last).await.unwrap();
    while seen.len() < expected.len() {
        seen.push(next(&mut again).await.revision);
    }
    assert_eq!(seen, expected);
}

pub(super) async fn many_watch_and_see_the_same(ground: Arc<dyn Ground>) {
    const COUNT: usize = 30;
    let store = ground.store().await;
    let start = now(&store).await;
    let mut watchers = JoinSet::new();
    for _ in 0..25 {
        let mut watch = watch(&store, &Prefix::all(), start).await;
        watchers.spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < COUNT {
                seen.push(next(&mut watch).await);
            }
            seen
        });
    }
    // One who does not read, and one who is gone, hold nobody up.
    let silent = watch(&store, &Prefix::all(), start).await;
    drop(watch(&store, &Prefix::all(), start).await);
    for number in 0..COUNT {
        put(&store, &key(&["a"]), number.to_string().as_bytes()).await;
    }
    let seen = watchers.join_all().await;
    assert!(seen.iter().all(|one| *one == seen[0]));
    drop(silent);
}

pub(super) async fn what_is_no_longer_known_is_compacted(ground: Arc<dyn Ground>) {
    let (store, a) = (ground.store().await, key(&["a"]));
    let early = put(&store, &a, b"1").await;
    delete(&store, &a).await;
    ground.forget(&store).await;
    assert_eq!(watch_error(&store, early).await, ErrorKind::Compacted);
    let listed = store.list(&Prefix::all()).await.unwrap();
    let mut watch = watch(&store, &Prefix::all(), listed.revision).await;
    put(&store, &a, b"2").await;
    assert_eq!(texts(&next(&mut watch).await), ["a=2"]);
}

pub(super) async fn a_revision_that_was_not_reached_is_compacted(ground: Arc<dyn Ground>) {
    let store = ground.store().await;
    put(&store, &key(&["a"]), b"1").await;
    let later = now(&store).await + 1_000_000;
    assert_eq!(watch_error(&store, later).await, ErrorKind::Compacted);
}

/// The error of a watch that cannot be: told at once, or instead of the first change.
async fn watch_error(store: &Arc<dyn Store>, after: Revision) -> ErrorKind {
    match store.watch(&Prefix::all(), after).await {
        Ok(mut watch) => within(SOON, watch.next()).await.unwrap_err().kind(),
        Err(error) => error.kind(),
    }
}
