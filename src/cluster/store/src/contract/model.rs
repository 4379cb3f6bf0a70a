//! Random transactions, on a store and on a map that says what has to come of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Arc, Ground, key, next, now, prefix, texts, watch};
use crate::{Commit, Key, Lease, Prefix, Revision, Store, Transaction, Watch};

/// Seeds are part of the case: what fails once fails again.
const SEEDS: [u64; 3] = [1, 20_261_122, 0xdead_beef];
const STEPS: usize = 250;
const LEASE_TIME: Duration = Duration::from_secs(600);

pub(super) async fn random_transactions_do_what_a_map_does(ground: Arc<dyn Ground>) {
    for seed in SEEDS {
        let mut trial = Trial::start(&ground, seed).await;
        for _ in 0..STEPS {
            trial.step().await;
        }
        trial.check_watch().await;
    }
}

pub(super) async fn random_transactions_do_what_a_map_does_over_restarts(ground: Arc<dyn Ground>) {
    let mut trial = Trial::start(&ground, SEEDS[1]).await;
    for _ in 0..6 {
        for _ in 0..STEPS / 4 {
            trial.step().await;
        }
        trial.restart(&ground).await;
    }
    trial.check_watch().await;
}

struct Trial {
    random: Random,
    seed: u64,
    store: Arc<dyn Store>,
    model: BTreeMap<Key, Row>,
    lease: Lease,
    last: Revision,
    /// What a watch has to tell; of what leases took along the revision is not known.
    told: Vec<(Option<Revision>, Vec<String>)>,
    watch: Watch,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    value: Vec<u8>,
    revision: Revision,
    is_leased: bool,
}

impl Trial {
    async fn start(ground: &Arc<dyn Ground>, seed: u64) -> Self {
        let store = ground.store().await;
        let last = now(&store).await;
        Self {
            random: Random(seed),
            seed,
            lease: store.grant(LEASE_TIME).await.unwrap(),
            watch: watch(&store, &Prefix::all(), last).await,
            store,
            model: BTreeMap::new(),
            last,
            told: Vec::new(),
        }
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..15 => self.commit().await,
            15..17 => {
                let key = self.key();
                let entry = self.store.get(&key).await.unwrap();
                let seen = entry.map(|entry| (entry.revision, entry.value.to_vec()));
                let row = self.model.get(&key);
                assert_eq!(
                    seen,
                    row.map(|row| (row.revision, row.value.clone())),
                    "{}",
                    self.seed
                );
            }
            17..19 => self.list().await,
            _ => self.revoke().await,
        }
    }

    fn key(&mut self) -> Key {
        let keys: [&[&str]; 7] = [
            &["a"],
            &["b"],
            &["a", "b"],
            &["a", "b", "c"],
            &["a-"],
            &["b", "c"],
            &["c"],
        ];
        key(keys[self.random.below(keys.len())])
    }

    async fn commit(&mut self) {
        let mut transaction = Transaction::new();
        let mut holds = true;
        for _ in 0..self.random.below(3) {
            let key = self.key();
            let revision = self.model.get(&key).map_or(0, |row| row.revision);
            let seen = match self.random.below(10) {
                0 => 0,
                1 => revision + 1,
                2 => self.last,
                _ => revision,
            };
            holds &= seen == revision;
            transaction = transaction.if_unchanged(&key, seen);
        }
        let mut writes = BTreeMap::new();
        for _ in 0..self.random.below(5) {
            let key = self.key();
            let value: Vec<u8> = (0..self.random.below(12))
                .map(|_| self.random.letter())
                .collect();
            let is_leased = self.random.below(5) == 0;
            let write = (self.random.below(3) > 0).then_some((value, is_leased));
            transaction = match &write {
                Some((value, true)) => transaction.put_leased(&key, value.as_slice(), self.lease),
                Some((value, false)) => transaction.put(&key, value.as_slice()),
                None => transaction.delete(&key),
            };
            writes.insert(key, write);
        }
        let commit = self.store.commit(transaction).await.unwrap();
        let Commit::Done(revision) = commit else {
            assert!(
                !holds,
                "seed {}: a conflict where nothing had changed",
                self.seed
            );
            return;
        };
        assert!(
            holds,
            "seed {}: done where something had changed",
            self.seed
        );
        let mut told = Vec::new();
        for (key, write) in writes {
            match write {
                Some((value, is_leased)) => {
                    told.push(format!("{key}={}", String::from_utf8_lossy(&value)));
                    self.model.insert(
                        key,
                        Row {
                            value,
                            revision,
                            is_leased,
                        },
                    );
                }
                None => {
                    if self.model.remove(&key).is_some() {
                        told.push(format!("{key}!"));
                    }
                }
            }
        }
        if told.is_empty() {
            assert!(revision >= self.last);
        } else {
            assert!(
                revision > self.last,
                "seed {}: {revision} after {}",
                self.seed,
                self.last
            );
            self.last = revision;
            self.told.push((Some(revision), told));
        }
    }

    async fn list(&mut self) {
        let prefixes = [
            Prefix::all(),
            prefix(&["a"]),
            prefix(&["a", "b"]),
            prefix(&["b"]),
        ];
        let prefix = &prefixes[self.random.below(prefixes.len())];
        let listed = self.store.list(prefix).await.unwrap();
        assert!(listed.revision >= self.last);
        let listed = listed.entries.into_iter();
        let listed = listed.map(|entry| (entry.key, entry.revision, entry.value.to_vec()));
        let rows = self.model.iter().filter(|(key, _)| prefix.is_of(key));
        let rows = rows.map(|(key, row)| (key.clone(), row.revision, row.value.clone()));
        let (listed, rows): (Vec<_>, Vec<_>) = (listed.collect(), rows.collect());
        assert_eq!(listed, rows, "seed {}", self.seed);
    }

    async fn revoke(&mut self) {
        self.store.revoke(self.lease).await.unwrap();
        let gone = self.model.iter().filter(|(_, row)| row.is_leased);
        let gone: Vec<_> = gone.map(|(key, _)| format!("{key}!")).collect();
        if !gone.is_empty() {
            self.told.push((None, gone));
        }
        self.model.retain(|_, row| !row.is_leased);
        self.lease = self.store.grant(LEASE_TIME).await.unwrap();
    }

    /// All that happened was told, once and in order.
    async fn check_watch(&mut self) {
        for (revision, expected) in std::mem::take(&mut self.told) {
            let batch = next(&mut self.watch).await;
            assert_eq!(texts(&batch), expected, "seed {}", self.seed);
            assert!(revision.is_none_or(|revision| batch.revision == revision));
            self.last = self.last.max(batch.revision);
        }
    }

    async fn restart(&mut self, ground: &Arc<dyn Ground>) {
        self.check_watch().await;
        self.store = ground.restart(Arc::clone(&self.store)).await;
        let listed = self.store.list(&Prefix::all()).await.unwrap();
        // What goes with leases may be gone, all of it, and then the lease is, too.
        let survives = self.store.renew(self.lease).await.is_ok();
        if !survives {
            self.model.retain(|_, row| !row.is_leased);
            self.lease = self.store.grant(LEASE_TIME).await.unwrap();
        }
        let listed = listed.entries.into_iter();
        let listed = listed.map(|entry| (entry.key, entry.revision, entry.value.to_vec()));
        let rows = self.model.iter();
        let rows = rows.map(|(key, row)| (key.clone(), row.revision, row.value.clone()));
        assert!(
            listed.eq(rows),
            "seed {}: not as before the restart",
            self.seed
        );
        self.watch = watch(&self.store, &Prefix::all(), now(&self.store).await).await;
    }
}

/// Numbers that look like chance: xorshift64* (Vigna: An experimental exploration of Marsaglia's
/// xorshift generators, scrambled).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or_default() % end.max(1)
    }

    fn letter(&mut self) -> u8 {
        b"abcdefgh"[self.below(8)]
    }
}
