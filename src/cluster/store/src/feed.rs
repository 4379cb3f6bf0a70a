//! The feed: what has changed lately, and who is told of it.

use std::collections::{BTreeMap, VecDeque};

use crate::limits::{HISTORY_BYTES, HISTORY_LEN};
use crate::watch::Watcher;
use crate::{Batch, Error, ErrorKind, Prefix, Result, Revision, Watch, WatchedChange};

/// What has changed lately, and who is told of it.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    history: VecDeque<Batch>,
    history_bytes: usize,
    /// The last revision whose changes are no longer known.
    forgotten: Revision,
    told: Revision,
    /// By prefix: thousands may watch, each for its own node, and a change concerns few of them.
    watchers: BTreeMap<Prefix, Vec<Watcher>>,
    count: usize,
    sweep_at: usize,
}

/// Watches below which it is not worth looking for deserted ones.
const FEW: usize = 64;

impl Feed {
    /// A feed that knows nothing of what was up to a revision.
    pub(crate) fn after(revision: Revision) -> Self {
        Self {
            forgotten: revision,
            told: revision,
            ..Self::default()
        }
    }

    /// Tells everybody whom it concerns.
    pub(crate) fn tell(&mut self, batch: Batch) {
        self.told = batch.revision;
        let mut concerned: BTreeMap<&str, Vec<WatchedChange>> = BTreeMap::new();
        for change in &batch.changes {
            for prefix in change.key().prefixes() {
                if self.watchers.contains_key(prefix) {
                    concerned.entry(prefix).or_default().push(change.clone());
                }
            }
        }
        let revision = batch.revision;
        for (prefix, changes) in concerned {
            let Some(watchers) = self.watchers.get_mut(prefix) else {
                continue;
            };
            let before = watchers.len();
            watchers.retain(|watcher| {
                let changes = changes.clone();
                watcher.tell(Batch { revision, changes })
            });
            self.count -= before - watchers.len();
        }
        self.remember(batch);
    }

    fn remember(&mut self, batch: Batch) {
        self.history_bytes += batch.bytes();
        self.history.push_back(batch);
        while self.history.len() > HISTORY_LEN || self.history_bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else {
                return;
            };
            self.history_bytes -= oldest.bytes();
            self.forgotten = oldest.revision;
        }
    }

    /// Watches a prefix from after a revision on.
    pub(crate) fn watch(&mut self, prefix: &Prefix, after: Revision) -> Result<Watch> {
        if after < self.forgotten {
            return Err(compacted(after));
        }
        if after > self.told {
            return Err(not_reached(after));
        }
        let known = self
            .history
            .partition_point(|batch| batch.revision <= after);
        let missed = self.history.range(known..);
        let missed = missed.filter_map(|batch| batch.below(prefix)).collect();
        let (watcher, watch) = Watch::new(missed);
        self.sweep();
        self.watchers
            .entry(prefix.clone())
            .or_default()
            .push(watcher);
        self.count += 1;
        Ok(watch)
    }

    /// Forgets those who do not listen any more. They are found when there is something to tell
    /// them, but some watch where nothing ever changes.
    fn sweep(&mut self) {
        if self.count < self.sweep_at.max(FEW) {
            return;
        }
        self.watchers.retain(|_, watchers| {
            watchers.retain(|watcher| !watcher.is_deserted());
            !watchers.is_empty()
        });
        self.count = self.watchers.values().map(Vec::len).sum();
        self.sweep_at = self.count * 2;
    }

    /// Ends all watches.
    pub(crate) fn end(&mut self, why: impl Fn() -> Error) {
        for watcher in std::mem::take(&mut self.watchers).into_values().flatten() {
            watcher.end(why());
        }
        self.count = 0;
    }
}

/// That changes are no longer known.
pub(crate) fn compacted(after: Revision) -> Error {
    let what = format!("the changes after revision {after} are no longer known");
    Error::new(ErrorKind::Compacted, what)
}

/// That a revision is of another time, or of another store. Whoever has seen it has to look anew, as
/// where changes are no longer known.
pub(crate) fn not_reached(after: Revision) -> Error {
    let what = format!("the store has not reached revision {after}: it is not as it was");
    Error::new(ErrorKind::Compacted, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;
    use crate::limits::WATCH_BUFFER;

    fn deleted(revision: Revision, key: &[&str]) -> Batch {
        let changes = vec![WatchedChange::Deleted(Key::new(key).unwrap())];
        Batch { revision, changes }
    }

    #[test]
    fn the_deserted_are_forgotten_where_nothing_changes() {
        let mut feed = Feed::default();
        for word in 0..10 * FEW {
            let prefix = Prefix::new(&[&word.to_string()]).unwrap();
            drop(feed.watch(&prefix, 0).unwrap());
        }
        assert!(feed.count <= FEW, "{}", feed.count);
        assert!(feed.watchers.len() <= FEW);
        let kept: Vec<_> = (0..10 * FEW)
            .map(|_| feed.watch(&Prefix::all(), 0).unwrap())
            .collect();
        feed.tell(deleted(1, &["a"]));
        drop(kept);
        assert!(feed.count >= 10 * FEW);
        feed.tell(deleted(2, &["a"]));
        assert!(feed.count <= FEW, "who is told notices, too");
    }

    #[test]
    fn history_is_bounded_by_bytes() {
        let mut feed = Feed::default();
        let key = Key::new(&["a"]).unwrap();
        for revision in 1..=100 {
            let entry = crate::Entry {
                key: key.clone(),
                value: vec![0; 1 << 20].into(),
                revision,
            };
            let changes = vec![WatchedChange::Put(entry)];
            feed.tell(Batch { revision, changes });
        }
        assert!(feed.history_bytes <= HISTORY_BYTES);
        assert_eq!(feed.forgotten + feed.history.len() as u64, 100);
        let missed: usize = feed.history.iter().map(Batch::bytes).sum();
        assert_eq!(missed, feed.history_bytes);
    }

    #[tokio::test]
    async fn one_who_does_not_read_is_told_after_what_there_was() {
        let mut feed = Feed::default();
        let mut watch = feed.watch(&Prefix::all(), 0).unwrap();
        let count = WATCH_BUFFER as u64 + 10;
        for revision in 1..=count {
            feed.tell(deleted(revision, &["a"]));
        }
        for revision in 1..=WATCH_BUFFER as u64 {
            assert_eq!(watch.next().await.unwrap().revision, revision);
        }
        assert_eq!(watch.next().await.unwrap_err().kind(), ErrorKind::Slow);
        assert_eq!(
            watch.next().await.unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        let mut again = feed.watch(&Prefix::all(), WATCH_BUFFER as u64).unwrap();
        for revision in WATCH_BUFFER as u64 + 1..=count {
            assert_eq!(again.next().await.unwrap().revision, revision);
        }
    }
}
