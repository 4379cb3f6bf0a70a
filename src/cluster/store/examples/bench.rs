//! Measures the embedded store: `cargo run --release -p vfioctl-store --example bench [FOLDER]`.
//!
//! The folder should be on the disk that is to be measured; without one it is the current one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement that cannot go on shall end"
)]

use std::env::args_os;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use vfioctl_store::{Commit, EmbeddedStore, Key, Prefix, Store, Transaction};

/// A task or a node as JSON is about as long.
const TEXT: [u8; 300] = [b'x'; 300];

fn main() {
    let folder = args_os().nth(1).unwrap_or_else(|| ".".into());
    let folder = tempfile::tempdir_in(folder).unwrap();
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(folder.path()));
}

async fn measure(folder: &Path) {
    let store = open(&folder.join("commits")).await;
    for (writers, seconds) in [(1, 3), (16, 3), (256, 5)] {
        let (count, mut times) = commits(&store, writers, Duration::from_secs(seconds)).await;
        times.sort_unstable();
        row(
            &format!("durable commits of 300 B, {writers} writers"),
            &format!(
                "{:.0}/s   p50 {}   p99 {}",
                count / seconds as f64,
                text(percentile(&times, 50)),
                text(percentile(&times, 99))
            ),
        );
    }
    store.close().await;

    let store = open(&folder.join("reads")).await;
    let start = Instant::now();
    let count = 200_000_u32;
    fill(&store, 10_000).await;
    let filled = start.elapsed();
    let start = Instant::now();
    for number in 0..200_000 {
        assert!(store.get(&entry(number % 10_000)).await.unwrap().is_some());
    }
    row("get", &text(start.elapsed() / count));
    let start = Instant::now();
    for _ in 0..20 {
        let listed = store
            .list(&Prefix::new(&["entries"]).unwrap())
            .await
            .unwrap();
        assert_eq!(listed.entries.len(), 10_000);
    }
    row("list of 10,000", &text(start.elapsed() / 20));
    row("10,000 entries written, 100 a transaction", &text(filled));
    row(
        "a change told to 100 who watch, the last of them",
        &text(fan_out(&store).await),
    );

    let before = resident();
    fill(&store, 110_000).await;
    let grown = resident() - before;
    row(
        "memory for 10,000 entries of 300 B (of 100,000)",
        &format!("{} KiB", grown / 10),
    );
    store.close().await;
    row(
        "file with 110,000 entries",
        &megabytes(&folder.join("reads")),
    );
    let start = Instant::now();
    let store = open(&folder.join("reads")).await;
    row("opened again with 110,000 entries", &text(start.elapsed()));
    store.close().await;
}

async fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path).await.unwrap()
}

fn entry(number: usize) -> Key {
    Key::new(&["entries", &format!("{number:08}")]).unwrap()
}

/// Commits, and how long each took.
async fn commits(store: &EmbeddedStore, writers: usize, time: Duration) -> (f64, Vec<Duration>) {
    let mut tasks = JoinSet::new();
    let end = Instant::now() + time;
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let (mut times, mut number) = (Vec::new(), 0);
            while Instant::now() < end {
                let start = Instant::now();
                let key = Key::new(&["w", &writer.to_string(), &(number % 50).to_string()]);
                let put = Transaction::new().put(&key.unwrap(), TEXT);
                assert!(matches!(store.commit(put).await, Ok(Commit::Done(_))));
                times.push(start.elapsed());
                number += 1;
            }
            times
        });
    }
    let times = tasks.join_all().await.concat();
    (times.len() as f64, times)
}

async fn fill(store: &EmbeddedStore, count: usize) {
    for first in (0..count).step_by(100) {
        let put = (first..first + 100).fold(Transaction::new(), |all, number| {
            all.put(&entry(number), TEXT)
        });
        assert!(matches!(store.commit(put).await, Ok(Commit::Done(_))));
    }
}

async fn fan_out(store: &EmbeddedStore) -> Duration {
    let now = store.list(&Prefix::all()).await.unwrap().revision;
    let mut watches = Vec::new();
    for _ in 0..100 {
        watches.push(store.watch(&Prefix::all(), now).await.unwrap());
    }
    let watches = Arc::new(tokio::sync::Mutex::new(watches));
    let mut all = Duration::ZERO;
    for _ in 0..100 {
        let put = Transaction::new().put(&Key::new(&["told"]).unwrap(), TEXT);
        assert!(store.commit(put).await.is_ok());
        let start = Instant::now();
        for watch in watches.lock().await.iter_mut() {
            watch.next().await.unwrap();
        }
        all += start.elapsed();
    }
    all / 100
}

/// Kibibytes of memory that this process has.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn megabytes(path: &Path) -> String {
    format!(
        "{:.0} MiB",
        path.metadata().unwrap().len() as f64 / f64::from(1 << 20)
    )
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn text(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn row(what: &str, measured: &str) {
    println!("{what:<52} {measured}");
}
