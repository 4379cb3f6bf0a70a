//! The store in etcd, which several hosts share (<https://etcd.io/docs/v3.5/learning/api/>).
//!
//! Tried with etcd 3.4, which Debian 12 has. What etcd keeps of the past grows until it is full,
//! unless it is told to compact: `--auto-compaction-retention=1h`.

mod failure;
mod options;
mod watch;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::proto::PbKeyValue;
use etcd_client::{
    Client, Compare, CompareOp, Error as EtcdError, GetOptions, GetResponse, PutOptions,
    ResponseHeader, Txn, TxnOp, WatchOptions,
};
use tokio::time::{sleep, timeout};

use crate::lease::check_time;
use crate::limits::{CALL_TIME, LIST_TRIES, MEMBER_PAUSE, MEMBER_TRIES, PAGE_LEN, STORE_BYTES};
use crate::{
    Commit, Entry, Error, ErrorKind, Guard, Key, Lease, Listing, Prefix, Result, Revision, Store,
    Transaction, Watch, Write,
};

pub use options::{EtcdOptions, EtcdTls};

/// A store in etcd. Clones share its connections, which are made again by themselves.
#[derive(Clone)]
pub struct EtcdStore {
    client: Client,
    names: Names,
    endpoints: Arc<[String]>,
}

/// How keys are called in etcd: all below one prefix.
#[derive(Debug, Clone)]
struct Names {
    prefix: Arc<str>,
}

/// Why there is no answer.
enum Lost {
    Error(EtcdError),
    Silence,
}

/// One answer to a question for entries.
struct Page {
    entries: Vec<Entry>,
    revision: Revision,
    is_last: bool,
}

impl EtcdStore {
    /// Connects, and asks for a sign of life.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] where none of the members answers, [`ErrorKind::Refused`] where
    /// they do not let one in or the options do not fit.
    pub async fn connect(options: &EtcdOptions) -> Result<Self> {
        options.check()?;
        let connect = Client::connect(options.endpoints(), Some(options.connect_options()));
        let client = timeout(CALL_TIME, connect).await;
        let client = client
            .map_err(|_| failure::silent())?
            .map_err(failure::of_read)?;
        let store = Self {
            client,
            names: Names::new(options.prefix()),
            endpoints: options.endpoints().into(),
        };
        store
            .get_range(store.names.prefix.as_bytes(), GetOptions::new())
            .await?;
        Ok(store)
    }

    /// The answer to a call, within the time for one. Where one member surely did not take it, it is
    /// made again, which goes to another one sooner or later.
    async fn call<T, F>(&self, call: impl Fn() -> F) -> std::result::Result<T, Lost>
    where
        F: Future<Output = std::result::Result<T, EtcdError>>,
    {
        let tries = async {
            let mut left = MEMBER_TRIES * self.endpoints.len();
            loop {
                left -= 1;
                match call().await {
                    Err(error) if left > 0 && failure::is_of_one_member(&error) => {
                        sleep(MEMBER_PAUSE).await;
                    }
                    answer => return answer,
                }
            }
        };
        match timeout(CALL_TIME, tries).await {
            Ok(answer) => answer.map_err(Lost::Error),
            Err(_) => Err(Lost::Silence),
        }
    }

    /// The answer to a call that changes nothing, or nothing that matters where it is made again.
    async fn ask<T, F>(&self, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, EtcdError>>,
    {
        self.call(call).await.map_err(Lost::of_read)
    }

    async fn get_range(&self, key: &[u8], options: GetOptions) -> Result<GetResponse> {
        let get = || {
            let (mut client, options) = (self.client.kv_client(), options.clone());
            async move { client.get(key, Some(options)).await }
        };
        self.ask(get).await
    }

    /// One page, from a key on; smaller where the texts are so long that they do not fit.
    async fn page(
        &self,
        from: &[u8],
        end: &str,
        at: Option<Revision>,
        len: &mut i64,
    ) -> Result<Page> {
        loop {
            let mut options = GetOptions::new().with_range(end).with_limit(*len);
            if let Some(at) = at {
                options = options.with_revision(number(at));
            }
            let get = || {
                let (mut client, options) = (self.client.kv_client(), options.clone());
                async move { client.get(from, Some(options)).await }
            };
            let response = match self.call(get).await {
                Err(Lost::Error(error)) if failure::is_too_long(&error) && *len > 1 => {
                    *len /= 2;
                    continue;
                }
                answer => answer.map_err(Lost::of_read)?,
            };
            let rows = response.0.kvs.into_iter().map(|row| self.names.entry(row));
            return Ok(Page {
                entries: rows.collect::<Result<_>>()?,
                revision: revision(response.0.header.map_or(0, |header| header.revision))?,
                is_last: !response.0.more,
            });
        }
    }

    /// All pages, as of the moment of the first one.
    async fn pages(&self, prefix: &Prefix) -> Result<Listing> {
        let first = self.names.first(prefix);
        let end = self.names.end(prefix);
        let mut len = PAGE_LEN;
        let mut page = self.page(first.as_bytes(), &end, None, &mut len).await?;
        let revision = page.revision;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        loop {
            bytes += page
                .entries
                .iter()
                .map(|entry| entry.value.len())
                .sum::<usize>();
            entries.append(&mut page.entries);
            if bytes > STORE_BYTES {
                let what = format!("what stands below '{first}' is more than {STORE_BYTES} bytes");
                return Err(Error::new(ErrorKind::TooLarge, what));
            }
            let Some(last) = entries.last().filter(|_| !page.is_last) else {
                return Ok(Listing { entries, revision });
            };
            let next = self.names.name(&last.key) + "\0";
            page = self
                .page(next.as_bytes(), &end, Some(revision), &mut len)
                .await?;
        }
    }

    /// Refuses to watch from a revision that is compacted or not reached. Creating a watch would say
    /// nothing of the latter, and of the former only later.
    async fn check_known(&self, after: Revision) -> Result<()> {
        // 0 would be now; the first revision of all is 1.
        let options = GetOptions::new()
            .with_count_only()
            .with_revision(number(after.max(1)));
        self.get_range(self.names.prefix.as_bytes(), options)
            .await
            .map(drop)
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let name = self.names.name(key);
        let response = self.get_range(name.as_bytes(), GetOptions::new()).await?;
        let row = response.0.kvs.into_iter().next();
        row.map(|row| self.names.entry(row)).transpose()
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing> {
        let mut tries = 1;
        loop {
            match self.pages(prefix).await {
                Err(error) if error.kind() == ErrorKind::Compacted && tries < LIST_TRIES => {
                    tries += 1;
                }
                Err(error) if error.kind() == ErrorKind::Compacted => {
                    let what = "etcd compacts faster than it can be read";
                    return Err(Error::new(ErrorKind::Unavailable, what).caused_by(error));
                }
                listing => return listing,
            }
        }
    }

    async fn commit(&self, transaction: Transaction) -> Result<Commit> {
        transaction.check_size()?;
        let guards = transaction
            .guards
            .iter()
            .map(|guard| self.names.compare(guard));
        let writes = transaction
            .writes
            .into_iter()
            .map(|write| self.names.operation(write));
        let txn = Txn::new()
            .when(guards.collect::<Vec<_>>())
            .and_then(writes.collect::<Vec<_>>());
        let commit = || {
            let (mut client, txn) = (self.client.kv_client(), txn.clone());
            async move { client.txn(txn).await }
        };
        let response = self.call(commit).await.map_err(Lost::of_write)?;
        if !response.succeeded() {
            return Ok(Commit::Conflict);
        }
        let revision = response.header().map_or(0, ResponseHeader::revision);
        Ok(Commit::Done(self::revision(revision)?))
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<Watch> {
        self.check_known(after).await?;
        let options = WatchOptions::new()
            .with_range(self.names.end(prefix))
            .with_start_revision(number(after).saturating_add(1))
            // A message of several revisions could else be of any length.
            .with_fragment();
        let first = self.names.first(prefix);
        let watch = || {
            let (mut client, options) = (self.client.watch_client(), options.clone());
            let first = first.as_str();
            async move {
                let mut stream = client.watch(first, Some(options)).await?;
                let created = stream.message().await?;
                Ok((stream, created))
            }
        };
        let (stream, created) = self.ask(watch).await?;
        watch::check_created(created.as_ref())?;
        let (watcher, watch) = Watch::new(Vec::new());
        tokio::spawn(watch::pass_on(stream, self.names.clone(), watcher));
        Ok(watch)
    }

    async fn grant(&self, time_to_live: Duration) -> Result<Lease> {
        check_time(time_to_live)?;
        // Whole seconds, and not less than was asked for.
        let whole = time_to_live.as_secs() + u64::from(time_to_live.subsec_nanos() > 0);
        let seconds = number(whole.max(1));
        let grant = || {
            let mut client = self.client.lease_client();
            async move { client.grant(seconds, None).await }
        };
        let granted = self.ask(grant).await?;
        Ok(Lease(granted.id()))
    }

    async fn renew(&self, lease: Lease) -> Result<()> {
        let renew = || {
            let mut client = self.client.lease_client();
            async move { client.keep_alive(lease.0).await }
        };
        self.ask(renew).await.map(drop)
    }

    async fn revoke(&self, lease: Lease) -> Result<()> {
        let revoke = || {
            let mut client = self.client.lease_client();
            async move { client.revoke(lease.0).await }
        };
        match self.ask(revoke).await {
            Err(error) if error.kind() == ErrorKind::LeaseGone => Ok(()),
            revoked => revoked.map(drop),
        }
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = (&self.endpoints, &self.names.prefix);
        f.debug_tuple("EtcdStore")
            .field(&names.0)
            .field(&names.1)
            .finish()
    }
}

impl Lost {
    fn of_read(self) -> Error {
        match self {
            Self::Error(error) => failure::of_read(error),
            Self::Silence => failure::silent(),
        }
    }

    fn of_write(self) -> Error {
        match self {
            Self::Error(error) => failure::of_write(error),
            Self::Silence => failure::unanswered(),
        }
    }
}

impl Names {
    fn new(prefix: &str) -> Self {
        let prefix = prefix.into();
        Self { prefix }
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// What all names below a prefix begin with.
    fn first(&self, prefix: &Prefix) -> String {
        format!("{}{}", self.prefix, prefix.as_str())
    }

    /// What comes after all of them.
    fn end(&self, prefix: &Prefix) -> String {
        // '0' comes after '/' (ASCII), with which both prefixes end, and nothing else is below.
        let first = self.first(prefix);
        format!("{}0", first.trim_end_matches('/'))
    }

    fn key(&self, name: &[u8]) -> Result<Key> {
        let text = std::str::from_utf8(name).ok();
        let text = text.and_then(|text| text.strip_prefix(&*self.prefix));
        text.and_then(|text| Key::parse(text).ok()).ok_or_else(|| {
            let what = format!(
                "'{}' in etcd is not of vfioctl; remove it",
                name.escape_ascii()
            );
            Error::new(ErrorKind::Damaged, what)
        })
    }

    fn entry(&self, row: PbKeyValue) -> Result<Entry> {
        Ok(Entry {
            key: self.key(&row.key)?,
            value: row.value.into(),
            revision: revision(row.mod_revision)?,
        })
    }

    fn compare(&self, guard: &Guard) -> Compare {
        let name = self.name(&guard.key);
        match guard.revision {
            0 => Compare::create_revision(name, CompareOp::Equal, 0),
            revision => Compare::mod_revision(name, CompareOp::Equal, number(revision)),
        }
    }

    fn operation(&self, write: Write) -> TxnOp {
        match write {
            Write::Put { key, value, lease } => {
                let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
                TxnOp::put(self.name(&key), &*value, options)
            }
            Write::Delete { key } => TxnOp::delete(self.name(&key), None),
        }
    }
}

/// A number as etcd has it. One that is too large for it is of nothing that it has.
fn number(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn revision(number: i64) -> Result<Revision> {
    let none = |_| Error::new(ErrorKind::Damaged, format!("etcd has a revision {number}"));
    Revision::try_from(number).map_err(none)
}
