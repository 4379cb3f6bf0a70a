//! The file: everything that goes with no lease, as redb keeps it (<https://www.redb.org>).
//!
//! Two tables: `entries` has a revision and a text for each key, `numbers` has
//!
//! * `format`: which of these descriptions the file follows; this is 1;
//! * `written`: the revision of the last group that changed an entry;
//! * `reserved`: the last revision that may have been given out. What goes with leases takes
//!   revisions without being written, and none may be given out twice.
//!
//! Every commit has two phases. Pages are on disk before the header names them, so a crash leaves
//! one commit or the other, and a file whose last commit does not check out is damaged for sure:
//! redb does not fall back on the one before, which would lose what was acknowledged.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition, TableError, TableHandle,
};

use crate::group::Kept;
use crate::limits::{COMPACT_FROM_BYTES, PAGE_CACHE_BYTES, REVISIONS_AHEAD};
use crate::table::Table;
use crate::{Entry, Error, ErrorKind, InvalidKey, Key, Result, Revision};

const ENTRIES: TableDefinition<'_, &str, (Revision, &[u8])> = TableDefinition::new("entries");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

const FORMAT: u64 = 1;

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    name: String,
    medium: Arc<dyn StorageBackend>,
    /// How often the disk said that all before is on it.
    syncs: Arc<AtomicU64>,
    /// `None` after a failure: what redb holds in memory is then no longer what the file has.
    database: Option<Database>,
    written: Revision,
    reserved: Revision,
}

/// Why a group was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not, for sure.
    NotWritten(Error),
    /// It may have been: the file has to be opened again to tell.
    Unsure(Error),
}

struct Numbers {
    written: Revision,
    reserved: Revision,
}

impl File {
    /// Opens a file, and reads all that it holds.
    pub(super) fn open(medium: Arc<dyn StorageBackend>, name: &str) -> Result<(Self, Table)> {
        let mut file = Self {
            name: name.to_owned(),
            medium,
            syncs: Arc::default(),
            database: None,
            written: 0,
            reserved: 0,
        };
        let mut database = file.open_database()?;
        let numbers = file.read_numbers(&database)?;
        let kept = match numbers {
            Some(_) => file.read_entries(&database)?,
            None => Vec::new(),
        };
        let numbers = numbers.unwrap_or(Numbers {
            written: 0,
            reserved: 0,
        });
        let table = Table::restored(kept, numbers.reserved);
        if file.is_mostly_free(&table)? {
            // A file that is longer than it has to be serves as well.
            if database.compact().is_err() {
                drop(database);
                database = file.open_database()?;
            }
        }
        file.database = Some(database);
        (file.written, file.reserved) = (numbers.written, numbers.reserved);
        // The revisions of this process are reserved before the first of them is given out.
        let start = file.write(&BTreeMap::new(), numbers.reserved);
        match start {
            Ok(()) => Ok((file, table)),
            Err(Failure::NotWritten(error) | Failure::Unsure(error)) => Err(error),
        }
    }

    /// Whether it can be written, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.database.is_some()
    }

    /// The last revision that may be given out.
    pub(super) fn reserved(&self) -> Revision {
        self.reserved
    }

    /// The revision of what was written last.
    pub(super) fn written(&self) -> Revision {
        self.written
    }

    /// Writes a group, durably. After a failure the file is closed.
    pub(super) fn write(
        &mut self,
        kept: &BTreeMap<Key, Kept>,
        revision: Revision,
    ) -> std::result::Result<(), Failure> {
        let closed = || Failure::NotWritten(self.unavailable(io::Error::other("it is closed")));
        let database = self.database.as_ref().ok_or_else(closed)?;
        let numbers = Numbers {
            // What only reserves leaves it: there is nothing that may have been done or not.
            written: if kept.is_empty() {
                self.written
            } else {
                revision
            },
            reserved: match self.reserved.saturating_sub(revision) {
                0..=REVISIONS_HALF => revision + REVISIONS_AHEAD,
                _ => self.reserved,
            },
        };
        let syncs = self.syncs.load(Ordering::Relaxed);
        match write(database, kept, &numbers) {
            Ok(()) => {
                (self.written, self.reserved) = (numbers.written, numbers.reserved);
                Ok(())
            }
            Err(error) => {
                self.database = None;
                let error = self.unavailable(error);
                // The header names the new pages only after these are on disk.
                if self.syncs.load(Ordering::Relaxed) == syncs {
                    Err(Failure::NotWritten(error))
                } else {
                    Err(Failure::Unsure(error))
                }
            }
        }
    }

    /// Opens the file again after a failure. Afterwards [`Self::written`] tells whether it has the
    /// group of which that was not sure, on disk and not only on the way to it: opening ends with a
    /// commit.
    pub(super) fn reopen(&mut self, unsure: Option<Revision>) -> Result<()> {
        self.database = None;
        let database = self.open_database()?;
        let numbers = self.read_numbers(&database)?;
        let numbers = numbers.ok_or_else(|| self.damaged("it is empty"))?;
        let is_known = numbers.written == self.written || Some(numbers.written) == unsure;
        if !is_known || numbers.reserved < self.reserved {
            return Err(self.damaged("it does not have what was written last"));
        }
        (self.written, self.reserved) = (numbers.written, numbers.reserved);
        self.database = Some(database);
        Ok(())
    }

    fn open_database(&self) -> Result<Database> {
        let probe = Probe {
            medium: Arc::clone(&self.medium),
            syncs: Arc::clone(&self.syncs),
        };
        let mut builder = Builder::new();
        builder.set_cache_size(PAGE_CACHE_BYTES);
        // Every page that counts is checked against its sum: nothing else would find a changed bit.
        builder.set_check_integrity_on_open(true);
        builder
            .create_with_backend(probe)
            .map_err(|error| match error {
                DatabaseError::UpgradeRequired(version) => {
                    let what = format!("'{}' has version {version} of redb's format", self.name);
                    Error::new(ErrorKind::Refused, what)
                }
                DatabaseError::Storage(error) => self.unreadable(error.into()),
                error => self.unavailable(error),
            })
    }

    /// `None` where nothing was ever written.
    fn read_numbers(&self, database: &Database) -> Result<Option<Numbers>> {
        let read = || -> std::result::Result<_, redb::Error> {
            let transaction = database.begin_read()?;
            let numbers = match transaction.open_table(NUMBERS) {
                Ok(numbers) => numbers,
                Err(TableError::TableDoesNotExist(_)) => {
                    let foreign = transaction.list_tables()?.next();
                    return Ok(Err(foreign.map(|table| table.name().to_owned())));
                }
                Err(error) => return Err(error.into()),
            };
            let number = |name| -> std::result::Result<_, redb::Error> {
                Ok(numbers.get(name)?.map(|number| number.value()))
            };
            Ok(Ok([
                number("format")?,
                number("written")?,
                number("reserved")?,
            ]))
        };
        match read().map_err(|error| self.unreadable(error))? {
            Ok([Some(FORMAT), Some(written), Some(reserved)]) => {
                Ok(Some(Numbers { written, reserved }))
            }
            Ok([Some(format), ..]) if format > FORMAT => {
                let what = format!(
                    "'{}' was written by a newer vfioctl (format {format}, and {FORMAT} is known \
                     here); install that version again",
                    self.name
                );
                Err(Error::new(ErrorKind::Refused, what))
            }
            Ok(_) => Err(self.damaged("a number is missing")),
            Err(None) => Ok(None),
            Err(Some(table)) => {
                let what = format!(
                    "'{}' belongs to another program (it has a table '{table}'); name another file",
                    self.name
                );
                Err(Error::new(ErrorKind::Refused, what))
            }
        }
    }

    fn read_entries(&self, database: &Database) -> Result<Vec<Entry>> {
        let read = || -> std::result::Result<_, redb::Error> {
            let entries = database.begin_read()?.open_table(ENTRIES)?;
            let mut kept = Vec::new();
            for entry in entries.iter()? {
                let (key, row) = entry?;
                let (revision, value) = row.value();
                kept.push((Key::parse(key.value()), revision, value.into()));
            }
            Ok(kept)
        };
        let kept: Vec<(_, Revision, Arc<[u8]>)> = read().map_err(|error| self.unreadable(error))?;
        let entry = |(key, revision, value)| {
            let key: std::result::Result<_, InvalidKey> = key;
            Ok(Entry {
                key: key.map_err(|error| self.damaged("a key is none").caused_by(error))?,
                value,
                revision,
            })
        };
        kept.into_iter().map(entry).collect()
    }

    fn is_mostly_free(&self, table: &Table) -> Result<bool> {
        let len = self.medium.len().map_err(|error| self.unavailable(error))?;
        let used = u64::try_from(table.bytes()).unwrap_or(u64::MAX);
        Ok(len >= COMPACT_FROM_BYTES && used < len / 8)
    }

    fn unreadable(&self, error: redb::Error) -> Error {
        match error {
            // What says so is no disk, but a file that is too short or begins with something else.
            redb::Error::Io(cause) if is_of_content(&cause) => {
                self.damaged("it is not a whole store").caused_by(cause)
            }
            redb::Error::Io(_) | redb::Error::PreviousIo => self.unavailable(error),
            error => self.damaged("it does not check out").caused_by(error),
        }
    }

    fn unavailable(&self, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::new(ErrorKind::Unavailable, format!("use '{}'", self.name)).caused_by(cause)
    }

    fn damaged(&self, how: &str) -> Error {
        let what = format!("'{}' is damaged: {how}; put back a copy of it", self.name);
        Error::new(ErrorKind::Damaged, what)
    }
}

fn is_of_content(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

const REVISIONS_HALF: u64 = REVISIONS_AHEAD / 2;

fn write(
    database: &Database,
    kept: &BTreeMap<Key, Kept>,
    numbers: &Numbers,
) -> std::result::Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        for (key, kept) in kept {
            match kept {
                Some((revision, value)) => entries.insert(key.as_str(), (*revision, &**value))?,
                None => entries.remove(key.as_str())?,
            };
        }
        let mut table = transaction.open_table(NUMBERS)?;
        table.insert("format", FORMAT)?;
        table.insert("written", numbers.written)?;
        table.insert("reserved", numbers.reserved)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The medium as redb sees it, one after each opening; it counts.
#[derive(Debug)]
struct Probe {
    medium: Arc<dyn StorageBackend>,
    syncs: Arc<AtomicU64>,
}

impl StorageBackend for Probe {
    fn len(&self) -> io::Result<u64> {
        self.medium.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.medium.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.medium.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.medium.sync_data()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.medium.write(offset, data)
    }
}
