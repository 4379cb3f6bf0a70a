//! What must survive the helper, but not the boot: changes of ACS.
//!
//! Registers and groups begin anew with each boot, so this lies below the runtime directory: a
//! record of an earlier boot could only do harm, and at boot the state directory may not be
//! mounted yet.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vfioctl_core::claim::Original;
use vfioctl_core::iommu::Partition;
use vfioctl_core::pci::{Identity, PciAddress};
use vfioctl_core::plan::{Cycle, PortOriginal, PowerControl};
use vfioctl_protocol::device as wire_device;
use vfioctl_protocol::wire;

use crate::audit;
use crate::state::StateError;
use crate::sys::StateDir;

/// A regrouping that has begun and not ended: everything as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Regroup {
    pub(crate) uid: u32,
    pub(crate) ports: Vec<PortOriginal>,
    pub(crate) cycles: Vec<Cycle>,
    pub(crate) originals: Vec<Original>,
    /// The groups that were concerned.
    pub(crate) before: Partition,
}

/// A port that was changed and not changed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeRecord {
    /// As it was before the first change.
    pub(crate) original: PortOriginal,
    /// What its control register was given last.
    pub(crate) control: u16,
    /// What was grouped anew with it.
    pub(crate) cycles: Vec<Cycle>,
    pub(crate) uid: u32,
    pub(crate) since: u64,
}

/// The records of this boot.
#[derive(Debug)]
pub struct AcsState {
    dir: StateDir,
    changes: Mutex<BTreeMap<PciAddress, ChangeRecord>>,
}

const JOURNAL: &str = "journal/regroup.json";

impl AcsState {
    /// Opens the folder `acs` of the runtime directory, and reads what is in it.
    ///
    /// # Errors
    /// Where it cannot be opened, or another helper uses it.
    pub fn open(runtime: &Path) -> Result<Self, StateError> {
        std::fs::create_dir_all(runtime)
            .map_err(|error| StateError::new("make the runtime directory", error))?;
        let dir = StateDir::open(&runtime.join("acs"))?;
        for folder in ["journal", "changes"] {
            dir.make_folder(folder)?;
        }
        let mut changes = BTreeMap::new();
        for name in dir.list("changes")? {
            if !name.ends_with(".json") {
                continue;
            }
            let bytes = dir.read(&format!("changes/{name}"))?;
            let change: Option<ChangeRecord> = serde_json::from_slice::<ChangeFile>(&bytes)
                .ok()
                .and_then(ChangeFile::into_record);
            match change {
                Some(change) => {
                    changes.insert(change.original.address, change);
                }
                None => {
                    audit::warning(&format!("'acs/changes/{name}' is not understood, ignoring"))
                }
            }
        }
        Ok(Self {
            dir,
            changes: Mutex::new(changes),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PciAddress, ChangeRecord>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All changes, in the order of addresses.
    pub(crate) fn changes(&self) -> Vec<ChangeRecord> {
        self.lock().values().cloned().collect()
    }

    /// Writes a change down; the first original of a port is kept.
    pub(crate) fn put_change(&self, mut change: ChangeRecord) -> Result<(), StateError> {
        let mut changes = self.lock();
        let address = change.original.address;
        if let Some(first) = changes.get(&address) {
            change.original = first.original.clone();
            for cycle in &first.cycles {
                if !change.cycles.contains(cycle) {
                    change.cycles.push(cycle.clone());
                }
            }
        }
        if change.control == change.original.control {
            self.dir.remove(&format!("changes/{address}.json"))?;
            changes.remove(&address);
        } else {
            let bytes = to_json(&ChangeFile::of(&change))?;
            self.dir.write(&format!("changes/{address}.json"), &bytes)?;
            changes.insert(address, change);
        }
        Ok(())
    }

    /// Writes down what was, before the first step.
    pub(crate) fn begin(&self, regroup: &Regroup) -> Result<(), StateError> {
        self.dir
            .write(JOURNAL, &to_json(&RegroupFile::of(regroup))?)
    }

    /// Forgets it, after the last.
    pub(crate) fn end(&self) -> Result<(), StateError> {
        self.dir.remove(JOURNAL)
    }

    /// The regrouping that has begun and not ended.
    pub(crate) fn unfinished(&self) -> Option<Regroup> {
        let names = self.dir.list("journal").ok()?;
        if !names
            .iter()
            .any(|name| JOURNAL.ends_with(name.as_str()) && name.len() > 2)
        {
            return None;
        }
        let bytes = self.dir.read(JOURNAL).ok()?;
        let regroup = serde_json::from_slice::<RegroupFile>(&bytes)
            .ok()
            .and_then(RegroupFile::into_regroup);
        if regroup.is_none() {
            audit::error(&format!("'acs/{JOURNAL}' is not understood, ignoring"));
        }
        regroup
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec_pretty(value).map_err(|error| StateError::new("write a record", error))
}

#[derive(Debug, Serialize, Deserialize)]
struct PortFile {
    address: String,
    vendor: u16,
    device: u16,
    subsystem_vendor: u16,
    subsystem_device: u16,
    control: u16,
    power: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CycleFile {
    bridge: String,
    functions: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RegroupFile {
    uid: u32,
    ports: Vec<PortFile>,
    cycles: Vec<CycleFile>,
    originals: Vec<wire_device::Original>,
    groups: Vec<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ChangeFile {
    port: PortFile,
    control: u16,
    cycles: Vec<CycleFile>,
    uid: u32,
    since: u64,
}

impl PortFile {
    fn of(port: &PortOriginal) -> Self {
        Self {
            address: port.address.to_string(),
            vendor: port.identity.vendor,
            device: port.identity.device,
            subsystem_vendor: port.identity.subsystem_vendor,
            subsystem_device: port.identity.subsystem_device,
            control: port.control,
            power: port.power.map(|power| power.as_str().to_owned()),
        }
    }

    fn into_port(self) -> Option<PortOriginal> {
        Some(PortOriginal {
            address: self.address.parse().ok()?,
            identity: Identity {
                vendor: self.vendor,
                device: self.device,
                subsystem_vendor: self.subsystem_vendor,
                subsystem_device: self.subsystem_device,
            },
            control: self.control,
            power: match self.power.as_deref() {
                Some("auto") => Some(PowerControl::Auto),
                Some("on") => Some(PowerControl::On),
                _ => None,
            },
        })
    }
}

impl CycleFile {
    fn of(cycle: &Cycle) -> Self {
        Self {
            bridge: cycle.bridge.to_string(),
            functions: cycle.functions.iter().map(ToString::to_string).collect(),
        }
    }

    fn into_cycle(self) -> Option<Cycle> {
        Some(Cycle {
            bridge: self.bridge.parse().ok()?,
            functions: parse_all(&self.functions)?,
        })
    }
}

impl RegroupFile {
    fn of(regroup: &Regroup) -> Self {
        Self {
            uid: regroup.uid,
            ports: regroup.ports.iter().map(PortFile::of).collect(),
            cycles: regroup.cycles.iter().map(CycleFile::of).collect(),
            originals: regroup.originals.iter().map(wire::original).collect(),
            groups: wire::groups(&regroup.before),
        }
    }

    fn into_regroup(self) -> Option<Regroup> {
        let originals = self.originals.iter().map(wire::original_from_wire);
        let groups = self.groups.iter().map(|group| parse_all(group));
        Some(Regroup {
            uid: self.uid,
            ports: self
                .ports
                .into_iter()
                .map(PortFile::into_port)
                .collect::<Option<_>>()?,
            cycles: self
                .cycles
                .into_iter()
                .map(CycleFile::into_cycle)
                .collect::<Option<_>>()?,
            originals: originals.collect::<Result<_, _>>().ok()?,
            before: Partition::new(groups.collect::<Option<_>>()?),
        })
    }
}

impl ChangeFile {
    fn of(change: &ChangeRecord) -> Self {
        Self {
            port: PortFile::of(&change.original),
            control: change.control,
            cycles: change.cycles.iter().map(CycleFile::of).collect(),
            uid: change.uid,
            since: change.since,
        }
    }

    fn into_record(self) -> Option<ChangeRecord> {
        Some(ChangeRecord {
            original: self.port.into_port()?,
            control: self.control,
            cycles: self
                .cycles
                .into_iter()
                .map(CycleFile::into_cycle)
                .collect::<Option<_>>()?,
            uid: self.uid,
            since: self.since,
        })
    }
}

fn parse_all(addresses: &[String]) -> Option<Vec<PciAddress>> {
    addresses
        .iter()
        .map(|address| address.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(control: u16) -> PortOriginal {
        PortOriginal {
            address: "0000:00:04.0".parse().unwrap(),
            identity: Identity {
                vendor: 0x1b36,
                device: 0x000c,
                subsystem_vendor: 0,
                subsystem_device: 0,
            },
            control,
            power: Some(PowerControl::Auto),
        }
    }

    fn change(original: u16, control: u16) -> ChangeRecord {
        ChangeRecord {
            original: port(original),
            control,
            cycles: vec![Cycle {
                bridge: "0000:00:04.0".parse().unwrap(),
                functions: vec!["0000:01:00.0".parse().unwrap()],
            }],
            uid: 1001,
            since: 7,
        }
    }

    #[test]
    fn the_first_value_of_a_port_is_kept_until_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = AcsState::open(folder.path()).unwrap();
        state.put_change(change(0x1d, 0x10)).unwrap();
        state.put_change(change(0x10, 0x00)).unwrap();
        drop(state);
        let state = AcsState::open(folder.path()).unwrap();
        assert_eq!(state.changes(), [change(0x1d, 0x00)]);
        state.put_change(change(0x00, 0x1d)).unwrap();
        assert_eq!(state.changes(), []);
    }

    #[test]
    fn what_was_before_comes_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let state = AcsState::open(folder.path()).unwrap();
        assert_eq!(state.unfinished(), None);
        let regroup = Regroup {
            uid: 1001,
            ports: vec![port(0)],
            cycles: change(0, 0).cycles,
            originals: vec![Original {
                address: "0000:01:00.0".parse().unwrap(),
                identity: port(0).identity,
                driver: "bochs-drm".parse().ok(),
                driver_override: None,
            }],
            before: Partition::new(vec![vec!["0000:01:00.0".parse().unwrap()]]),
        };
        state.begin(&regroup).unwrap();
        assert_eq!(state.unfinished(), Some(regroup));
        state.end().unwrap();
        assert_eq!(state.unfinished(), None);
    }
}
