//! The record: what was edited, in which order, and how it was before.
//!
//! A folder, `/var/lib/vfioctl/setup/`: `record.json` is the list, and for entry number N the file
//! `N.before` is what was there (none where there was nothing) and `N.after` what was written. An
//! entry is on disk before its file is touched, so a crash at any point leaves a record by which
//! everything can be brought back.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind as IoKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::error::{Error, ErrorKind};
use crate::facts::Refresh;
use crate::file::{TEMPORARY, read_file, remove_file, write_file};
use crate::limits::MAX_FILES;
use crate::paths;

/// Version of the file.
const SCHEMA: u32 = 1;

/// The list of what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    schema: u32,
    /// Number of the next entry.
    next: u32,
    /// What was edited, oldest first; one file may stand here more than once.
    pub(crate) entries: Vec<Entry>,
    /// Folders that were made for it, outermost first.
    pub(crate) folders: Vec<String>,
    /// What was edited and not brought into effect yet.
    pub(crate) pending: BTreeSet<Refresh>,
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) path: String,
    /// Whether there was a file before.
    pub(crate) existed: bool,
    pub(crate) refresh: Option<Refresh>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            next: 1,
            entries: Vec::new(),
            folders: Vec::new(),
            pending: BTreeSet::new(),
        }
    }
}

impl Record {
    /// Reads the bytes of the list.
    ///
    /// # Errors
    /// Where they are not such a list, or one of another version.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let broken = |because: String| {
            let what = format!("cannot understand '{}': {because}", paths::RECORD);
            Error::new(ErrorKind::Record, what)
        };
        let record: Self =
            serde_json::from_slice(bytes).map_err(|error| broken(error.to_string()))?;
        // The list is only a file: a name in it leads nowhere but to a place of the machine.
        let is_path =
            |path: &String| path.starts_with('/') && !path.split('/').any(|part| part == "..");
        let entries = record.entries.iter().map(|entry| &entry.path);
        match entries.chain(&record.folders).find(|path| !is_path(path)) {
            Some(path) => Err(broken(format!("'{path}' is not an absolute path"))),
            None if record.schema != SCHEMA => Err(broken(format!(
                "it has version {}, this command knows {SCHEMA}",
                record.schema
            ))),
            None => Ok(record),
        }
    }
}

/// The folder of the record, which one run has at a time.
#[derive(Debug)]
pub(crate) struct RecordFolder {
    root: PathBuf,
    _lock: Option<File>,
    pub(crate) record: Record,
}

impl RecordFolder {
    /// Makes the folder where it is missing, locks it, and reads the list.
    ///
    /// # Errors
    /// Where that cannot be done, or another run has it.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let folder = paths::below(root, paths::STATE_FOLDER);
        let at = |error: std::io::Error| {
            Error::file(
                format!("cannot open the folder '{}'", paths::STATE_FOLDER),
                error,
            )
        };
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(at)?;
        let lock = File::open(&folder).map_err(at)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let what = "another 'vfioctl setup' works at this moment";
                return Err(Error::new(ErrorKind::Busy, what));
            }
            Err(errno) => return Err(at(errno.into())),
        }
        Ok(Self {
            _lock: Some(lock),
            ..Self::look(root)?
        })
    }

    /// Reads the list and changes nothing.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub(crate) fn look(root: &Path) -> Result<Self, Error> {
        let record = match read_file(root, paths::RECORD)? {
            Some(bytes) => Record::parse(&bytes)?,
            None => Record::default(),
        };
        Ok(Self {
            root: root.to_owned(),
            _lock: None,
            record,
        })
    }

    /// Writes the list.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn save(&self) -> Result<(), Error> {
        let bytes = serde_json::to_vec_pretty(&self.record).map_err(|error| {
            Error::new(
                ErrorKind::Record,
                format!("cannot write '{}': {error}", paths::RECORD),
            )
        })?;
        write_file(&self.root, paths::RECORD, &bytes, 0o600)
    }

    /// Puts an edit on record, before it is made.
    ///
    /// # Errors
    /// Where it cannot be written; then the edit must not be made.
    pub(crate) fn note(&mut self, edit: &Edit, folders: Vec<String>) -> Result<(), Error> {
        let number = self.record.next;
        if let Some(before) = &edit.before {
            write_file(&self.root, &before_path(number), before, 0o600)?;
        }
        write_file(&self.root, &after_path(number), &edit.after, 0o600)?;
        self.record.next = number.saturating_add(1);
        self.record.folders.extend(folders);
        self.record.pending.extend(edit.refresh);
        self.record.entries.push(Entry {
            number,
            path: edit.path.clone(),
            existed: edit.before.is_some(),
            refresh: edit.refresh,
        });
        self.save()
    }

    /// What was there before an edit, and what was written.
    ///
    /// # Errors
    /// Where the copies cannot be read.
    pub(crate) fn copies(&self, entry: &Entry) -> Result<(Option<Vec<u8>>, Vec<u8>), Error> {
        let copy = |path: String| {
            read_file(&self.root, &path)?.ok_or_else(|| {
                let what = format!(
                    "the copy '{path}' is missing, which '{}' names",
                    paths::RECORD
                );
                Error::new(ErrorKind::Record, what)
            })
        };
        let before = match entry.existed {
            true => Some(copy(before_path(entry.number))?),
            false => None,
        };
        Ok((before, copy(after_path(entry.number))?))
    }

    /// Takes entries off the record, with their copies.
    ///
    /// # Errors
    /// Where the list cannot be written.
    pub(crate) fn forget(&mut self, numbers: &[u32]) -> Result<(), Error> {
        self.record
            .entries
            .retain(|entry| !numbers.contains(&entry.number));
        self.save()?;
        for number in numbers {
            remove_file(&self.root, &before_path(*number))?;
            remove_file(&self.root, &after_path(*number))?;
        }
        Ok(())
    }

    /// Removes the folder, where nothing is on record any more.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub(crate) fn close(self) -> Result<(), Error> {
        let Record {
            entries, pending, ..
        } = &self.record;
        if !entries.is_empty() || !pending.is_empty() {
            return Ok(());
        }
        remove_file(&self.root, paths::RECORD)?;
        let place = paths::below(&self.root, paths::STATE_FOLDER);
        let at = |error| Error::file(format!("cannot remove '{}'", paths::STATE_FOLDER), error);
        // Copies that a run has left which was killed before they were on record, or after.
        for entry in fs::read_dir(&place).map_err(at)?.take(MAX_FILES) {
            let name = entry.map_err(at)?.file_name();
            let name = name.to_string_lossy();
            if [".before", ".after", TEMPORARY]
                .iter()
                .any(|end| name.ends_with(end))
            {
                remove_file(&self.root, &format!("{}/{name}", paths::STATE_FOLDER))?;
            }
        }
        match fs::remove_dir(place) {
            Ok(()) => Ok(()),
            // What somebody has put beside it is not ours.
            Err(error) if error.kind() == IoKind::DirectoryNotEmpty => Ok(()),
            Err(error) => Err(at(error)),
        }
    }
}

/// Where the copy of what was there before is kept.
pub(crate) fn before_path(number: u32) -> String {
    format!("{}/{number}.before", paths::STATE_FOLDER)
}

fn after_path(number: u32) -> String {
    format!("{}/{number}.after", paths::STATE_FOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_names_other_places_is_not_believed() {
        let text = |path: &str| {
            format!(
                "{{\"schema\":1,\"next\":2,\"entries\":[{{\"number\":1,\"path\":\"{path}\",\
                 \"existed\":true,\"refresh\":\"grub\"}}],\"folders\":[],\"pending\":[]}}"
            )
        };
        assert!(Record::parse(text("/etc/x").as_bytes()).is_ok());
        for path in ["etc/x", "/etc/../../x"] {
            let error = Record::parse(text(path).as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Record);
        }
    }

    #[test]
    fn two_runs_do_not_work_at_once() {
        let root = tempfile::tempdir().unwrap();
        let first = RecordFolder::open(root.path()).unwrap();
        let second = RecordFolder::open(root.path()).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Busy);
        first.close().unwrap();
        assert!(!paths::below(root.path(), paths::STATE_FOLDER).exists());
    }
}
