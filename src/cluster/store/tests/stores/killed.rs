//! A process with a store that is killed, again and again, in the middle of its work.

use std::env::{args_os, current_exe};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use vfioctl_store::{Commit, EmbeddedStore, Key, Prefix, Store, Transaction};

const ASK: &str = "--store-under-load";
const ROUNDS: u64 = 40;
const WRITERS: usize = 6;
/// Keys that each transaction changes together.
const KEYS: usize = 4;

pub(crate) fn trial() -> Trial {
    super::trial(
        "embedded::a_process_that_is_killed_loses_nothing_that_was_answered",
        kill,
    )
}

/// This program is also the one that is killed.
pub(crate) fn run_if_asked() {
    let arguments: Vec<_> = args_os().collect();
    if arguments.len() == 3 && arguments[1] == ASK {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(load(Path::new(&arguments[2])));
    }
}

/// Writes for ever, and says what was answered.
async fn load(path: &Path) {
    let store = EmbeddedStore::open(path).await.unwrap();
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut count = last(&store, writer).await;
            loop {
                count += 1;
                let text = count.to_string().into_bytes();
                let put = (0..KEYS).fold(Transaction::new(), |all, number| {
                    all.put(&key(writer, number), text.as_slice())
                });
                let leased = Key::new(&["leased", &writer.to_string()]).unwrap();
                let put = put.put_leased(&leased, text.as_slice(), lease);
                assert!(matches!(store.commit(put).await, Ok(Commit::Done(_))));
                // It panics where nobody reads any more: the test has ended.
                println!("{writer} {count}");
            }
        });
    }
    writers.join_all().await;
}

fn key(writer: usize, number: usize) -> Key {
    Key::new(&["w", &writer.to_string(), &number.to_string()]).unwrap()
}

/// What a writer wrote last, all of it.
async fn last(store: &EmbeddedStore, writer: usize) -> usize {
    let mut seen = Vec::new();
    for number in 0..KEYS {
        let entry = store.get(&key(writer, number)).await.unwrap();
        seen.push(entry.map_or(0, |entry| {
            String::from_utf8(entry.value.to_vec())
                .unwrap()
                .parse()
                .unwrap()
        }));
    }
    assert!(
        seen.iter().all(|one| *one == seen[0]),
        "half a transaction: {seen:?}"
    );
    seen[0]
}

async fn kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut answered = [0; WRITERS];
    for round in 0..ROUNDS {
        let load = Load::start(&path);
        // Also while the file is made or opened, which takes the first milliseconds.
        tokio::time::sleep(Duration::from_millis(round * 37 % 190)).await;
        for (writer, count) in load.kill() {
            assert!(count > answered[writer]);
            answered[writer] = count;
        }
        let store = EmbeddedStore::open(&path).await.unwrap();
        for (writer, answered) in answered.iter().enumerate() {
            let last = last(&store, writer).await;
            // One more may have been done and not answered, in each round.
            assert!(
                last >= *answered,
                "round {round}: {answered} of {writer} is lost: {last}"
            );
            assert!(last <= answered + usize::try_from(round).unwrap() + 1);
        }
        let leased = store
            .list(&Prefix::new(&["leased"]).unwrap())
            .await
            .unwrap();
        assert!(leased.entries.is_empty());
        store.close().await;
    }
    let all: usize = answered.iter().sum();
    assert!(all > 500, "{all} transactions are too few to tell");
}

struct Load(Child);

impl Load {
    fn start(path: &PathBuf) -> Self {
        let mut command = Command::new(current_exe().unwrap());
        command
            .arg(ASK)
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Kills it, and tells what was answered up to then.
    fn kill(mut self) -> Vec<(usize, usize)> {
        let out = self.0.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut lines: Vec<String> = Vec::new();
            let mut out = BufReader::new(out);
            let mut line = String::new();
            while out.read_line(&mut line).unwrap() > 0 {
                lines.push(std::mem::take(&mut line));
            }
            lines
        });
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        let lines = reader.join().unwrap();
        // The last one may have been cut off.
        let whole = lines.iter().filter_map(|line| line.strip_suffix('\n'));
        let counts = whole.map(|line| {
            let (writer, count) = line.split_once(' ').unwrap();
            (writer.parse().unwrap(), count.parse().unwrap())
        });
        counts.collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
