//! The store on disks that fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::fake_disk::{FakeDisk, Fault};
use super::{EmbeddedStore, REQUEST_BYTES};
use crate::limits::REOPEN_PAUSE;
use crate::{
    Commit, Entry, Error, ErrorKind, Key, Prefix, Result, Store, Transaction, WatchedChange,
};

fn open(disk: &FakeDisk) -> Result<EmbeddedStore> {
    let name = "fake".to_owned();
    let (file, table) = super::File::open(Arc::new(disk.clone()), &name)?;
    EmbeddedStore::start(file, table, name)
}

fn key(word: &str) -> Key {
    Key::new(&[word]).unwrap()
}

/// A transaction with a number, of several pages that change together.
fn numbered(number: usize) -> Transaction {
    let text = |len: usize| format!("{number} {}", "x".repeat(len)).into_bytes();
    let words = ["a", "b", "c"].iter().enumerate();
    let put = words.fold(Transaction::new(), |all, (at, word)| {
        all.put(&key(word), text(at * 2_500))
    });
    // Some that come and go, so that pages are freed and used again.
    let (new, old) = (number % 5, (number + 2) % 5);
    put.put(&key(&format!("d{new}")), text(700))
        .delete(&key(&format!("d{old}")))
}

fn number(entry: &Entry) -> usize {
    let text = std::str::from_utf8(&entry.value).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The number of the transaction that was done last, all of it; 0 where there was none.
async fn last(store: &EmbeddedStore) -> usize {
    let mut seen = Vec::new();
    for word in ["a", "b", "c"] {
        let entry = store.get(&key(word)).await.unwrap();
        seen.push(entry.map_or(0, |entry| number(&entry)));
    }
    assert!(
        seen.iter().all(|one| *one == seen[0]),
        "half a transaction: {seen:?}"
    );
    seen[0]
}

/// Transactions until the store is gone for good; those that were done, and the number of all.
async fn work(store: &EmbeddedStore, count: usize) -> (Vec<usize>, usize) {
    let mut done = Vec::new();
    for number in 1..=count {
        match store.commit(numbered(number)).await {
            Ok(Commit::Done(_)) => done.push(number),
            Ok(Commit::Conflict) => panic!("a conflict without a guard"),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown),
                "{error:?}"
            ),
        }
    }
    (done, count)
}

const COUNT: usize = 7;

/// Steps of the whole work on a sound disk.
async fn sound_steps() -> usize {
    let disk = FakeDisk::default();
    let store = open(&disk).unwrap();
    assert_eq!(work(&store, COUNT).await.0.len(), COUNT);
    store.close().await;
    disk.steps()
}

#[tokio::test]
async fn a_power_cut_at_any_step_loses_nothing_that_was_answered() {
    let steps = sound_steps().await;
    let mut both = [0; 2];
    for seed in 0..2 {
        for step in 0..steps {
            let disk = FakeDisk::new(seed, Fault::From(step));
            // What is not complete is not put in its place.
            let Ok(store) = open(&disk) else {
                continue;
            };
            let (mut done, mut tried) = (0, 0);
            for number in 1..=COUNT {
                tried = number;
                if store.commit(numbered(number)).await.is_err() {
                    break;
                }
                done = number;
            }
            store.close().await;
            let after = open(&disk.cut()).unwrap_or_else(|error| panic!("step {step}: {error:?}"));
            let last = last(&after).await;
            assert!(
                last == done || last == tried,
                "step {step}: {last}, {done} done"
            );
            both[usize::from(last != done)] += 1;
            assert!(after.commit(numbered(last + 1)).await.is_ok());
            after.close().await;
        }
    }
    assert!(
        both[0] > 50 && both[1] > 3,
        "cuts before and after the header was written: {both:?}"
    );
}

#[tokio::test]
async fn a_step_that_fails_fails_its_transactions_and_no_other() {
    let steps = sound_steps().await;
    let mut kinds = [0; 3];
    for seed in 0..2 {
        for step in 0..steps {
            let disk = FakeDisk::new(seed, Fault::Once(step));
            let Ok(store) = open(&disk) else {
                continue;
            };
            let mut watch = store.watch(&Prefix::all(), 0).await.unwrap();
            let mut expected = Vec::new();
            for number in 1..=COUNT {
                let before = last(&store).await;
                match store
                    .commit(numbered(number))
                    .await
                    .map_err(|error| error.kind())
                {
                    Ok(Commit::Done(_)) => {
                        kinds[0] += 1;
                        expected.push(number);
                        assert_eq!(last(&store).await, number);
                    }
                    Err(ErrorKind::Unavailable) => {
                        kinds[1] += 1;
                        assert_eq!(last(&store).await, before, "step {step}");
                    }
                    other => panic!("step {step}: {other:?}"),
                }
            }
            assert!(
                expected.len() + 1 >= COUNT,
                "step {step}: one failed, and no other"
            );
            for number in &expected {
                let batch = watch.next().await.unwrap();
                assert_eq!(told(&batch.changes), *number, "step {step}");
            }
            let expected = expected.last().copied().unwrap();
            store.close().await;
            let after = open(&disk.cut()).unwrap();
            assert_eq!(last(&after).await, expected, "step {step}");
        }
    }
    assert!(kinds[1] > 20, "{kinds:?}");
}

fn told(changes: &[WatchedChange]) -> usize {
    match &changes[0] {
        WatchedChange::Put(entry) => number(entry),
        WatchedChange::Deleted(key) => panic!("{key} is removed"),
    }
}

/// The disk goes on failing, so that nobody can tell what it has; later it works again.
#[tokio::test]
async fn what_is_unsure_is_told_and_known_once_the_disk_works_again() {
    let steps = sound_steps().await;
    let mut both = [0; 2];
    let mut trials = JoinSet::new();
    for step in 0..steps {
        let disk = FakeDisk::new(7, Fault::From(step));
        let Ok(store) = open(&disk) else {
            continue;
        };
        trials.spawn(async move {
            let mut watch = store.watch(&Prefix::all(), 0).await.unwrap();
            let mut unsure = None;
            let mut done = 0;
            for number in 1..=COUNT {
                match store
                    .commit(numbered(number))
                    .await
                    .map_err(|error| error.kind())
                {
                    Ok(Commit::Done(_)) => done = number,
                    Err(ErrorKind::Unavailable) => {}
                    Err(ErrorKind::Unknown) if unsure.is_none() => unsure = Some(number),
                    other => panic!("step {step}: {other:?}"),
                }
                assert_eq!(last(&store).await, done, "nobody sees what is not sure");
            }
            disk.set_fault(Fault::None);
            tokio::time::sleep(REOPEN_PAUSE).await;
            let commit = store.commit(numbered(COUNT + 1)).await;
            assert!(
                matches!(commit, Ok(Commit::Done(_))),
                "step {step}: {commit:?}"
            );
            let mut seen = Vec::new();
            while seen.last() != Some(&(COUNT + 1)) {
                seen.push(told(&watch.next().await.unwrap().changes));
            }
            let sure: Vec<_> = (1..=done).chain([COUNT + 1]).collect();
            let was_done = unsure.is_some_and(|number| seen.contains(&number));
            seen.retain(|number| Some(*number) != unsure);
            assert_eq!(seen, sure, "step {step}");
            store.close().await;
            assert_eq!(last(&open(&disk.cut()).unwrap()).await, COUNT + 1);
            (unsure.is_some(), was_done)
        });
    }
    for (is_unsure, was_done) in trials.join_all().await {
        if is_unsure {
            both[usize::from(was_done)] += 1;
        }
    }
    assert!(both[1] > 3, "{both:?}");
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_works_again_with_room() {
    let disk = FakeDisk::default();
    let store = open(&disk).unwrap();
    assert!(store.commit(numbered(1)).await.is_ok());
    disk.set_fault(Fault::Full(4 << 20));
    let big = |number: usize| {
        let (key, text) = (key(&format!("big{number}")), vec![b'x'; 200_000]);
        Transaction::new().put(&key, text)
    };
    let (mut count, mut error) = (0, None);
    while error.is_none() && count < 100 {
        match store.commit(big(count)).await {
            Ok(_) => count += 1,
            Err(refused) => error = Some(refused.kind()),
        }
    }
    assert_eq!(error, Some(ErrorKind::Unavailable));
    assert!(count > 3, "{count}");
    assert_eq!(last(&store).await, 1, "it is read as before");
    assert_eq!(store.get(&key(&format!("big{count}"))).await.unwrap(), None);
    let lease = store.grant(Duration::from_secs(9)).await.unwrap();
    let leased = Transaction::new().put_leased(&key("leased"), *b"1", lease);
    assert!(
        store.commit(leased).await.is_ok(),
        "what is not written needs no room"
    );
    disk.set_fault(Fault::None);
    tokio::time::sleep(REOPEN_PAUSE).await;
    assert!(store.commit(big(count)).await.is_ok());
    store.close().await;
    let after = open(&disk.cut()).unwrap();
    let all = after.list(&Prefix::all()).await.unwrap().entries;
    let big = all
        .iter()
        .filter(|entry| entry.key.as_str().starts_with("big"));
    assert_eq!(big.count(), count + 1);
}

/// Time is stopped, and goes on at once wherever all wait for it.
#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_told_and_the_queue_is_bounded() {
    let disk = FakeDisk::default();
    let store = open(&disk).unwrap();
    assert_eq!(Semaphores::free(&store), super::QUEUE_BYTES);
    disk.set_fault(Fault::Hang);
    let mut tasks = JoinSet::new();
    for number in 0..80 {
        let store = store.clone();
        tasks.spawn(async move {
            let text = vec![b'x'; Transaction::MAX_BYTES - REQUEST_BYTES];
            let put = Transaction::new().put(&key(&format!("big{number}")), text);
            store.commit(put).await.map_err(|error| error.kind())
        });
    }
    let answers = tasks.join_all().await;
    let count = |kind| {
        answers
            .iter()
            .filter(|answer| **answer == Err(kind))
            .count()
    };
    let (unknown, unavailable) = (count(ErrorKind::Unknown), count(ErrorKind::Unavailable));
    assert_eq!(unknown + unavailable, 80);
    // 64 MiB wait, each of 1 MiB.
    assert!((60..=64).contains(&unknown), "{unknown}");
    assert_eq!(store.get(&key("big0")).await.unwrap(), None);
    disk.set_fault(Fault::None);
    let mut waited = 0;
    while Semaphores::free(&store) < super::QUEUE_BYTES && waited < 10_000 {
        std::thread::sleep(Duration::from_millis(1));
        waited += 1;
    }
    let all = store.list(&Prefix::all()).await.unwrap().entries;
    assert_eq!(all.len(), unknown, "what was unknown was done");
}

struct Semaphores;

impl Semaphores {
    fn free(store: &EmbeddedStore) -> usize {
        store.inner.room.available_permits()
    }
}

#[tokio::test]
async fn a_changed_bit_is_told_or_does_not_matter() {
    let disk = FakeDisk::default();
    let store = open(&disk).unwrap();
    for number in 1..40 {
        assert!(store.commit(numbered(number)).await.is_ok());
    }
    let expected = store.list(&Prefix::all()).await.unwrap().entries;
    // As a crash leaves it, and as it is after it was closed.
    let crashed = disk.cut();
    store.close().await;
    let mut told = 0;
    for disk in [crashed, disk.cut()] {
        let len = usize::try_from(redb::StorageBackend::len(&disk).unwrap()).unwrap();
        // All of the header but the byte that says which of the two commits is the last one: only
        // that byte knows.
        let header = (0..320).filter(|byte| *byte != 9);
        let pages = (0..400).map(|number| 4096 + number * 7919 % (len - 4096));
        for (number, byte) in header.chain(pages).enumerate() {
            let bit = u8::try_from(number % 8).unwrap();
            match open(&disk.with_changed_bit(byte, bit)) {
                Ok(store) => {
                    let entries = store.list(&Prefix::all()).await.unwrap().entries;
                    assert_eq!(entries, expected, "byte {byte}");
                }
                Err(error) => {
                    let kind = error.kind();
                    assert!(
                        matches!(kind, ErrorKind::Damaged | ErrorKind::Refused),
                        "{error:?}"
                    );
                    told += 1;
                }
            }
        }
    }
    assert!(told > 100, "{told}");
}

#[tokio::test]
async fn what_is_not_a_store_of_this_format_is_refused() {
    use redb::{Database, TableDefinition};
    let kind = |disk: &FakeDisk| open(disk).map(drop).map_err(|error: Error| error.kind());
    let foreign = FakeDisk::default();
    let database = Database::builder()
        .create_with_backend(foreign.clone())
        .unwrap();
    let table: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
    let write = database.begin_write().unwrap();
    write.open_table(table).unwrap().insert(1, 1).unwrap();
    write.commit().unwrap();
    drop(database);
    assert_eq!(kind(&foreign), Err(ErrorKind::Refused));

    let newer = FakeDisk::default();
    open(&newer).unwrap().close().await;
    let database = Database::builder()
        .create_with_backend(newer.clone())
        .unwrap();
    let table: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
    let write = database.begin_write().unwrap();
    write
        .open_table(table)
        .unwrap()
        .insert("format", 2)
        .unwrap();
    write.commit().unwrap();
    drop(database);
    assert_eq!(kind(&newer), Err(ErrorKind::Refused));

    let text = FakeDisk::default();
    redb::StorageBackend::set_len(&text, 8192).unwrap();
    redb::StorageBackend::write(&text, 0, b"#!/bin/sh\n").unwrap();
    assert_eq!(kind(&text), Err(ErrorKind::Damaged));
}

#[tokio::test]
async fn a_file_that_is_mostly_free_gets_shorter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = EmbeddedStore::open(&path).await.unwrap();
    let big = |number: usize| key(&format!("big{number}"));
    for number in 0..60 {
        let put = Transaction::new().put(&big(number), vec![b'x'; 900_000]);
        assert!(store.commit(put).await.is_ok());
    }
    let many = (0..59).fold(Transaction::new(), |all, number| all.delete(&big(number)));
    assert!(store.commit(many).await.is_ok());
    store.close().await;
    let before = path.metadata().unwrap().len();
    let store = EmbeddedStore::open(&path).await.unwrap();
    let all = store.list(&Prefix::all()).await.unwrap().entries;
    assert_eq!((all.len(), &all[0].key), (1, &big(59)));
    store.close().await;
    let after = path.metadata().unwrap().len();
    assert!(after < before / 8, "{before} bytes, then {after}");
}
