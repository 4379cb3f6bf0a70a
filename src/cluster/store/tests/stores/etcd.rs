//! What is particular to etcd: lines that are cut, and servers that are killed.
#![expect(clippy::panic, reason = "a test that cannot go on shall end")]

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use etcd_client::Client;
use libtest_mimic::Trial;
use tokio::task::JoinSet;
use tokio::time::timeout;
use vfioctl_store::contract::Ground;
use vfioctl_store::{Commit, ErrorKind, EtcdOptions, EtcdStore, Key, Prefix, Store, Transaction};

use super::line::Line;
use super::server::Server;
use super::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "etcd::a_lost_answer_is_unknown_and_never_a_lie",
            lost_answers,
        ),
        trial("etcd::where_nobody_listens_nothing_was_done", nobody),
        trial("etcd::a_server_that_hangs_is_given_up", hangs),
        trial("etcd::the_same_store_goes_on_after_a_kill", goes_on),
        trial("etcd::a_cluster_that_loses_a_member_loses_nothing", members),
    ]
}

/// A server for each case, with a prefix for each store.
pub(crate) struct Etcd {
    server: Mutex<Server>,
    stores: AtomicUsize,
}

impl Etcd {
    pub(crate) fn new() -> Self {
        Self {
            server: Mutex::new(Server::start()),
            stores: AtomicUsize::new(0),
        }
    }

    fn endpoint(&self) -> String {
        self.server.lock().unwrap().endpoint()
    }

    async fn open(&self, number: usize) -> Arc<dyn Store> {
        let prefix = Prefix::new(&["test", &number.to_string()]).unwrap();
        let options = EtcdOptions::new(&[self.endpoint()])
            .unwrap()
            .with_prefix(prefix);
        Arc::new(soon(|| EtcdStore::connect(&options)).await)
    }
}

#[async_trait]
impl Ground for Etcd {
    async fn store(&self) -> Arc<dyn Store> {
        self.open(self.stores.fetch_add(1, Ordering::Relaxed)).await
    }

    async fn restart(&self, _: Arc<dyn Store>) -> Arc<dyn Store> {
        self.server.lock().unwrap().restart();
        self.open(0).await
    }

    async fn forget(&self, store: &Arc<dyn Store>) {
        let now = store.list(&Prefix::all()).await.unwrap().revision;
        let mut client = Client::connect([self.endpoint()], None).await.unwrap();
        client
            .compact(i64::try_from(now).unwrap(), None)
            .await
            .unwrap();
    }
}

/// Tries again for a while: a server that was just started may not have a leader yet.
pub(crate) async fn soon<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    run: impl Fn() -> F,
) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match run().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < end, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn connect(endpoint: &str) -> EtcdStore {
    let options = EtcdOptions::new(&[endpoint]).unwrap();
    soon(|| EtcdStore::connect(&options)).await
}

pub(crate) fn key(words: &[&str]) -> Key {
    Key::new(words).unwrap()
}

pub(crate) fn put(word: &str, value: &str) -> Transaction {
    Transaction::new().put(&key(&[word]), value.as_bytes())
}

/// The key that most of these tests write.
fn a() -> &'static Key {
    static A: LazyLock<Key> = LazyLock::new(|| key(&["a"]));
    &A
}

pub(crate) async fn commit(store: &EtcdStore, transaction: Transaction) {
    assert!(matches!(
        store.commit(transaction).await,
        Ok(Commit::Done(_))
    ));
}

pub(crate) async fn value(store: &EtcdStore, word: &str) -> Option<String> {
    let entry = store.get(&key(&[word])).await.unwrap();
    entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

/// Each time the line is cut at another moment after a transaction was sent.
async fn lost_answers() {
    let server = Server::start();
    let line = Line::to(server.port()).await;
    let (store, beside) = (
        connect(&line.endpoint()).await,
        connect(&server.endpoint()).await,
    );
    let (mut unknown, mut was_done) = (0, 0);
    for round in 0..30_u64 {
        let text = round.to_string();
        // Until it answers again after the cut before.
        soon(|| store.get(a())).await;
        line.mute(true);
        let before = line.sent();
        let sent = tokio::spawn({
            let (store, put) = (store.clone(), put("a", &text));
            async move { store.commit(put).await }
        });
        let is_sent = round % 3 > 0;
        while is_sent && line.sent() == before && !sent.is_finished() {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        tokio::time::sleep(Duration::from_millis(round % 5)).await;
        line.cut();
        line.mute(false);
        let answer = sent.await.unwrap();
        // What was sent may arrive after the line was cut.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let is_there = value(&beside, "a").await.as_deref() == Some(&text);
        match answer.map_err(|error| error.kind()) {
            Ok(_) => assert!(is_there),
            Err(ErrorKind::Unavailable) => assert!(!is_there, "round {round}: it was done"),
            Err(ErrorKind::Unknown) => {
                unknown += 1;
                was_done += usize::from(is_there);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(
        unknown >= 10 && was_done >= 5,
        "{unknown} unknown, {was_done} of them done"
    );
}

async fn nobody() {
    let mut server = Server::start();
    let store = connect(&server.endpoint()).await;
    commit(&store, put("a", "1")).await;
    server.kill();
    // The first may go over a connection whose end nobody has told yet.
    let _ = store.commit(put("a", "2")).await;
    for _ in 0..3 {
        let start = Instant::now();
        let error = store.commit(put("a", "3")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let error = store.get(a()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(
            start.elapsed() < Duration::from_secs(11),
            "{:?}",
            start.elapsed()
        );
    }
    let options = EtcdOptions::new(&[server.endpoint()]).unwrap();
    let error = EtcdStore::connect(&options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

async fn hangs() {
    let server = Server::start();
    let store = connect(&server.endpoint()).await;
    let mut watch = store.watch(&Prefix::all(), 0).await.unwrap();
    server.freeze();
    let start = Instant::now();
    let (answer, get) = tokio::join!(store.commit(put("a", "1")), store.get(a()));
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(get.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    // No sign of life: the watch ends, too, and does not wait for ever.
    let ended = timeout(Duration::from_secs(20), watch.next())
        .await
        .unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    server.thaw();
    let done = soon(|| store.commit(put("a", "2"))).await;
    assert!(matches!(done, Commit::Done(_)));
}

async fn goes_on() {
    let mut server = Server::start();
    let store = connect(&server.endpoint()).await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let both = put("a", "1").put_leased(&key(&["b"]), *b"1", lease);
    commit(&store, both).await;
    for _ in 0..3 {
        server.restart();
        soon(|| store.get(a())).await;
        assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
        soon(|| store.renew(lease)).await;
        assert_eq!(value(&store, "b").await.as_deref(), Some("1"));
    }
}

/// Writers add one to a counter of their own, while one member after the other is killed.
async fn members() {
    const WRITERS: usize = 4;
    let mut servers = Server::cluster(3);
    let endpoints: Vec<_> = servers.iter().map(Server::endpoint).collect();
    let options = EtcdOptions::new(&endpoints).unwrap();
    let store = soon(|| EtcdStore::connect(&options)).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, is_over) = (store.clone(), Arc::clone(&is_over));
        writers.spawn(async move {
            let key = key(&["counter", &writer.to_string()]);
            let (mut sure, mut unsure) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                let Ok(seen) = store.get(&key).await else {
                    continue;
                };
                let (count, revision) =
                    seen.map_or((0, 0), |seen| (number(&seen.value), seen.revision));
                let next = (count + 1).to_string().into_bytes();
                let add = Transaction::new()
                    .if_unchanged(&key, revision)
                    .put(&key, next);
                match store.commit(add).await.map_err(|error| error.kind()) {
                    Ok(Commit::Done(_)) => sure += 1,
                    Ok(Commit::Conflict) | Err(ErrorKind::Unavailable) => {}
                    Err(ErrorKind::Unknown) => unsure += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            (writer, sure, unsure)
        });
    }
    let counters = &Prefix::new(&["counter"]).unwrap();
    let mut watch = soon(|| store.watch(counters, 0)).await;
    for (number, member) in servers.iter_mut().enumerate() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        member.kill();
        tokio::time::sleep(Duration::from_secs(2)).await;
        // Two of three are enough.
        let alive = soon(|| store.commit(put("alive", &number.to_string()))).await;
        assert!(matches!(alive, Commit::Done(_)));
        member.restart();
    }
    is_over.store(true, Ordering::Relaxed);
    let mut all = 0;
    for (writer, sure, unsure) in writers.join_all().await {
        let key = key(&["counter", &writer.to_string()]);
        let count = number(&soon(|| store.get(&key)).await.unwrap().value);
        assert!(
            count >= sure && count <= sure + unsure,
            "{count}: {sure} sure, {unsure} not"
        );
        assert!(sure > 10, "{sure}");
        all += count;
    }
    // Every change is told once, whoever had to tell it.
    let (mut last, mut told) = (0, 0);
    while told < all {
        match timeout(Duration::from_secs(20), watch.next())
            .await
            .unwrap()
        {
            Ok(batch) => {
                assert!(batch.revision > last);
                (last, told) = (batch.revision, told + batch.changes.len());
            }
            Err(_) => {
                watch = soon(|| store.watch(counters, last)).await;
            }
        }
    }
    assert_eq!(told, all);
}

fn number(text: &[u8]) -> usize {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}
