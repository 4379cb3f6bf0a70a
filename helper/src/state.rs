//! What must survive the helper: claims, the journal, machines.
//!
//! One file each below the state directory, written whole (temporary file, fsync, rename, fsync
//! of the folder). A journal entry stands from before the first step of a change until after the
//! last one; what it holds is how the functions were before, which is all that is needed to bring
//! them back from wherever a crash left them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vfioctl_core::claim::{Claim, ContainerName};
use vfioctl_core::pci::PciAddress;
use vfioctl_protocol::device as wire_device;
use vfioctl_protocol::wire;

use crate::audit;
use crate::sys::StateDir;

/// Version of the files.
const SCHEMA: u32 = 1;

/// The state directory, and the claims in memory.
#[derive(Debug)]
pub struct State {
    dir: StateDir,
    boot_id: String,
    claims: Mutex<BTreeMap<ClaimKey, ClaimRecord>>,
}

/// What tells a claim from all others, and names its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ClaimKey {
    /// Who has functions whole has them alone, so the first function is enough.
    Whole(PciAddress),
    /// Containers share functions, and have names.
    Container(u32, ContainerName),
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(address) => address.fmt(f),
            Self::Container(uid, name) => write!(f, "container-{uid}-{name}"),
        }
    }
}

/// A claim, and the boot in which it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimRecord {
    pub(crate) claim: Claim,
    pub(crate) boot_id: String,
}

/// What was being done when the helper last wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// Taking functions from their drivers.
    Bind,
    /// Giving them back.
    Release,
}

/// A change that has begun and not ended.
#[derive(Debug, Clone)]
pub(crate) struct JournalEntry {
    pub(crate) change: Change,
    pub(crate) claim: Claim,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClaimFile {
    schema: u32,
    boot_id: String,
    claim: wire_device::Claim,
}

#[derive(Debug, Serialize, Deserialize)]
struct JournalFile {
    schema: u32,
    boot_id: String,
    change: Change,
    claim: wire_device::Claim,
    /// The steps as sentences, for whoever reads the file.
    steps: Vec<String>,
}

/// The state directory could not be read or written.
#[derive(Debug)]
pub struct StateError {
    what: String,
    source: io::Error,
}

impl StateError {
    pub(crate) fn new(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            what: what.into(),
            source: source.into(),
        }
    }

    /// Whether something was not there.
    pub(crate) fn is_absence(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.source)
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl State {
    /// Opens the state directory, makes what is missing in it, and reads the claims.
    ///
    /// # Errors
    /// Where it cannot be opened, or another helper uses it.
    pub fn open(path: &Path, boot_id: String) -> Result<Self, StateError> {
        let dir = StateDir::open(path)?;
        for folder in ["claims", "journal", "machines"] {
            dir.make_folder(folder)?;
            // What a helper that was killed while it wrote has left: never the file itself.
            for name in dir.list(folder)? {
                if name.ends_with(".new") {
                    dir.remove(&format!("{folder}/{name}"))?;
                }
            }
        }
        let mut claims = BTreeMap::new();
        for (name, file) in read_all::<ClaimFile>(&dir, "claims")? {
            match wire::claim_from_wire(&file.claim) {
                // No container outlives its boot, and nothing has to be brought home.
                Ok(claim) if claim.owner.container().is_some() && file.boot_id != boot_id => {
                    dir.remove(&format!("claims/{name}.json"))?;
                    let owner = &claim.owner;
                    audit::info(&format!("the claim of {owner} has ended with its boot"));
                }
                Ok(claim) if !claim.originals.is_empty() => {
                    let key = key_of(&claim);
                    claims.extend(key.map(|k| {
                        (
                            k,
                            ClaimRecord {
                                claim,
                                boot_id: file.boot_id,
                            },
                        )
                    }));
                }
                _ => audit::warning(&format!("claim file '{name}' is not understood, ignoring")),
            }
        }
        Ok(Self {
            dir,
            boot_id,
            claims: Mutex::new(claims),
        })
    }

    /// The identity of this boot.
    pub(crate) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClaimKey, ClaimRecord>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All claims.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        self.lock()
            .values()
            .map(|record| record.claim.clone())
            .collect()
    }

    /// All claims, with the boots they were made in.
    pub(crate) fn claim_records(&self) -> Vec<ClaimRecord> {
        self.lock().values().cloned().collect()
    }

    /// The claim that holds a function; the first one, where containers share it.
    pub(crate) fn claim_of(&self, address: PciAddress) -> Option<Claim> {
        self.lock()
            .values()
            .map(|r| &r.claim)
            .find(|claim| claim.holds(address))
            .cloned()
    }

    /// The claim of a user's container.
    pub(crate) fn claim_of_container(&self, uid: u32, name: &ContainerName) -> Option<Claim> {
        let key = ClaimKey::Container(uid, name.clone());
        self.lock().get(&key).map(|record| record.claim.clone())
    }

    /// Writes a claim; one of the same functions, or of the same container, is replaced.
    pub(crate) fn put_claim(&self, claim: &Claim) -> Result<(), StateError> {
        let Some(key) = key_of(claim) else {
            return Ok(());
        };
        let file = ClaimFile {
            schema: SCHEMA,
            boot_id: self.boot_id.clone(),
            claim: wire::claim(claim, None),
        };
        self.dir
            .write(&format!("claims/{key}.json"), &to_json(&file)?)?;
        let record = ClaimRecord {
            claim: claim.clone(),
            boot_id: self.boot_id.clone(),
        };
        self.lock().insert(key, record);
        Ok(())
    }

    /// Forgets a claim.
    pub(crate) fn remove_claim(&self, claim: &Claim) -> Result<(), StateError> {
        let Some(key) = key_of(claim) else {
            return Ok(());
        };
        self.dir.remove(&format!("claims/{key}.json"))?;
        self.lock().remove(&key);
        Ok(())
    }

    /// Writes down a change before its first step.
    pub(crate) fn begin(
        &self,
        entry: &JournalEntry,
        steps: impl Iterator<Item = String>,
    ) -> Result<(), StateError> {
        let Some(key) = key_of(&entry.claim) else {
            return Ok(());
        };
        let file = JournalFile {
            schema: SCHEMA,
            boot_id: self.boot_id.clone(),
            change: entry.change,
            claim: wire::claim(&entry.claim, None),
            steps: steps.collect(),
        };
        self.dir
            .write(&format!("journal/{key}.json"), &to_json(&file)?)
    }

    /// Forgets a change after its last step.
    pub(crate) fn end(&self, claim: &Claim) -> Result<(), StateError> {
        let Some(key) = key_of(claim) else {
            return Ok(());
        };
        self.dir.remove(&format!("journal/{key}.json"))
    }

    /// The changes that have begun and not ended.
    pub(crate) fn journal(&self) -> Result<Vec<JournalEntry>, StateError> {
        let mut entries = Vec::new();
        for (name, file) in read_all::<JournalFile>(&self.dir, "journal")? {
            match wire::claim_from_wire(&file.claim) {
                Ok(claim) => entries.push(JournalEntry {
                    change: file.change,
                    claim,
                }),
                Err(error) => {
                    audit::warning(&format!(
                        "journal '{name}' is not understood ({error}), ignoring"
                    ));
                }
            }
        }
        Ok(entries)
    }

    /// Writes a machine's record.
    pub(crate) fn put_machine<T: Serialize>(
        &self,
        name: &str,
        record: &T,
    ) -> Result<(), StateError> {
        self.dir
            .write(&format!("machines/{name}.json"), &to_json(record)?)
    }

    /// Forgets a machine's record.
    pub(crate) fn remove_machine(&self, name: &str) -> Result<(), StateError> {
        self.dir.remove(&format!("machines/{name}.json"))
    }

    /// The records of all machines.
    pub(crate) fn machines<T: DeserializeOwned>(&self) -> Result<Vec<(String, T)>, StateError> {
        read_all(&self.dir, "machines")
    }
}

fn key_of(claim: &Claim) -> Option<ClaimKey> {
    match claim.owner.container() {
        Some(container) => Some(ClaimKey::Container(claim.owner.uid, container.name.clone())),
        None => claim
            .originals
            .first()
            .map(|original| ClaimKey::Whole(original.address)),
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec_pretty(value).map_err(|error| StateError::new("write a record", error))
}

/// Every record of a folder that is understood; the others are named in the log and left alone.
fn read_all<T: DeserializeOwned>(
    dir: &StateDir,
    folder: &str,
) -> Result<Vec<(String, T)>, StateError> {
    let mut records = Vec::new();
    for file in dir.list(folder)? {
        let Some(name) = file.strip_suffix(".json") else {
            continue;
        };
        let bytes = dir.read(&format!("{folder}/{file}"))?;
        match serde_json::from_slice(&bytes) {
            Ok(record) => records.push((name.to_owned(), record)),
            Err(error) => {
                audit::warning(&format!(
                    "'{folder}/{file}' is not understood ({error}), ignoring"
                ));
            }
        }
    }
    Ok(records)
}
