//! Pins: which devices stay on vfio-pci over reboots, as files below `/etc/vfioctl/pinned`.
//!
//! One file for each function, named by [`pin_name`](vfioctl_core::pin::pin_name); the udev rule
//! looks for the name alone. `/etc`, because udev asks while the machine boots, when `/var` may
//! not be mounted yet. Each file holds the whole pin. The first function's file is the one that
//! counts: it is written last and removed first, so a helper that was killed in between leaves a
//! pin or none, and stray files that the next one removes.

mod hold;
mod keep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vfioctl_core::claim::{Claim, Original};
use vfioctl_core::pci::PciAddress;
use vfioctl_core::pin::Pin;
use vfioctl_protocol::{device as wire_device, wire};

pub(crate) use hold::hold_pinned;
pub(crate) use keep::{keep_after_machine, keep_pins, plan_pins};

use crate::helper::{Helper, now};
use crate::limits::MAX_PINS_A_USER;
use crate::state::StateError;
use crate::sys::StateDir;
use crate::{MethodError, audit};

/// Version of the files.
const SCHEMA: u32 = 1;

/// The folder of pins, and the pins in memory by the name of their first function.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    all: Mutex<BTreeMap<String, Standing>>,
    /// Held by whoever binds what is pinned, so that two do not do it at once.
    keeping: Mutex<()>,
}

/// A pin, and why it does not hold its device now.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) pin: Pin,
    pub(crate) problem: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PinFile {
    schema: u32,
    pin: wire_device::Pin,
}

impl Pins {
    /// Reads the pins, and removes what a helper that was killed has left half done. Where the
    /// folder is missing there are none.
    pub fn open(path: &Path) -> Self {
        let all = match read_pins(path) {
            Ok(all) => all,
            Err(error) => {
                audit::error(&format!("pins: {error}"));
                BTreeMap::new()
            }
        };
        Self {
            path: path.to_owned(),
            all: Mutex::new(all),
            keeping: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All pins.
    pub(crate) fn all(&self) -> Vec<Standing> {
        self.lock().values().cloned().collect()
    }

    /// The pins of functions at these addresses.
    pub(crate) fn at(&self, addresses: &[PciAddress]) -> Vec<Pin> {
        let is_there = |pin: &Pin| addresses.iter().any(|address| pin.holds(*address));
        let all = self.all().into_iter().map(|standing| standing.pin);
        all.filter(is_there).collect()
    }

    /// The pin of the very functions of a claim, of the same user.
    pub(crate) fn of(&self, claim: &Claim) -> Option<Pin> {
        let all = self.all().into_iter().map(|standing| standing.pin);
        all.into_iter().find(|pin| pin.is_held_by(claim))
    }

    fn has(&self, pin: &Pin) -> bool {
        self.lock().values().any(|standing| standing.pin == *pin)
    }

    fn put(&self, pin: &Pin) -> Result<(), StateError> {
        let dir = StateDir::open_shared(&self.path)?;
        let bytes = to_json(pin)?;
        let names: Vec<String> = pin.names().collect();
        for name in names.iter().rev() {
            dir.write(name, &bytes)?;
        }
        let standing = Standing {
            pin: pin.clone(),
            problem: None,
        };
        self.lock()
            .extend(names.into_iter().next().map(|name| (name, standing)));
        Ok(())
    }

    /// Forgets a pin.
    pub(crate) fn remove(&self, pin: &Pin) -> Result<(), StateError> {
        let dir = StateDir::open_shared(&self.path)?;
        for name in pin.names() {
            dir.remove(&name)?;
            self.lock().remove(&name);
        }
        Ok(())
    }

    /// Remembers why a pin does not hold its device; tells whether that is news.
    fn tell(&self, pin: &Pin, problem: Option<&str>) -> bool {
        let mut all = self.lock();
        let standing = all.values_mut().find(|standing| standing.pin == *pin);
        standing.is_some_and(|standing| {
            let is_news = standing.problem.as_deref() != problem;
            standing.problem = problem.map(str::to_owned);
            is_news
        })
    }
}

/// Makes sure that the functions could be pinned for a user.
///
/// # Errors
/// Where a function does not tell who it is, is pinned for something else, or the user has too
/// many pins.
pub(crate) fn refuse_pin(
    helper: &Helper,
    originals: &[Original],
    uid: u32,
) -> Result<(), MethodError> {
    if let Some(nobody) = originals.iter().find(|each| !each.identity.is_told()) {
        return Err(MethodError::refused(
            "NotIdentified",
            format!(
                "{} does not tell who it is, so a pin could take another device for it",
                nobody.address
            ),
            "bind it without --persist",
        ));
    }
    let addresses: Vec<PciAddress> = originals.iter().map(|each| each.address).collect();
    let is_same = |pin: &Pin| {
        pin.uid == uid
            && originals.len() == pin.originals.len()
            && originals.iter().all(|o| pin.is_of(o.address, o.identity))
    };
    let pins = helper.pins.at(&addresses);
    if let Some(other) = pins.iter().find(|pin| !is_same(pin)) {
        return Err(pinned(helper, other));
    }
    if !pins.is_empty() {
        return Ok(());
    }
    let all = helper.pins.all();
    if all.iter().filter(|each| each.pin.uid == uid).count() >= MAX_PINS_A_USER {
        return Err(MethodError::refused(
            "TooManyClaims",
            format!("you have pinned {MAX_PINS_A_USER} devices, and no user may pin more"),
            "release one first; 'vfioctl list --all' shows them",
        ));
    }
    Ok(())
}

fn pinned(helper: &Helper, pin: &Pin) -> MethodError {
    let owner = helper.describe_owner(&pin.claim(pin.since).owner);
    let what: Vec<String> = pin
        .originals
        .iter()
        .map(|each| format!("{} ({})", each.address, each.identity))
        .collect();
    let address = pin.originals.first().map(|each| each.address.to_string());
    MethodError::refused(
        "Pinned",
        format!("{owner} has pinned {}", what.join(", ")),
        format!(
            "forget that pin first, as {owner} or as root: 'vfioctl release {}'",
            address.unwrap_or_default()
        ),
    )
}

/// Pins what a person's claim holds. One that is pinned already stays as it is.
///
/// # Errors
/// See [`refuse_pin`]; and where the pin cannot be written.
pub(crate) fn pin_claim(helper: &Helper, claim: &Claim) -> Result<(), MethodError> {
    refuse_pin(helper, &claim.originals, claim.owner.uid)?;
    if helper.pins.of(claim).is_some() {
        return Ok(());
    }
    let Some(pin) = Pin::of(claim, now()) else {
        return Ok(());
    };
    helper.pins.put(&pin).map_err(|error| {
        // A file that was written before the one that failed counts for nothing: it goes.
        let _ = helper.pins.remove(&pin);
        MethodError::failed(
            format!("cannot pin it: {error}"),
            format!(
                "make sure that '{}' is there and can be written ('systemd-tmpfiles --create')",
                helper.pins.path.display()
            ),
            true,
        )
    })
}

/// Reads the pins of a folder and changes nothing.
///
/// # Errors
/// Where it is there and cannot be read.
pub(crate) fn look_at_pins(path: &Path) -> Result<Vec<Pin>, StateError> {
    let Some(dir) = StateDir::open_existing(path)? else {
        return Ok(Vec::new());
    };
    let files = read_files(&dir)?;
    let counts = |(name, pin): &(&String, &Pin)| pin.names().next().as_ref() == Some(*name);
    Ok(files
        .iter()
        .filter(counts)
        .map(|(_, pin)| pin.clone())
        .collect())
}

fn read_pins(path: &Path) -> Result<BTreeMap<String, Standing>, StateError> {
    let Some(dir) = StateDir::open_existing(path)? else {
        return Ok(BTreeMap::new());
    };
    for name in dir.list(".")?.iter().filter(|name| name.ends_with(".new")) {
        dir.remove(name)?;
    }
    let files = read_files(&dir)?;
    let mut all = BTreeMap::new();
    for (name, pin) in &files {
        let names: Vec<String> = pin.names().collect();
        let Some(first) = names.first() else { continue };
        if first == name {
            for missing in names.iter().filter(|name| !files.contains_key(*name)) {
                audit::warning(&format!("pin '{missing}' was missing, writing it again"));
                dir.write(missing, &to_json(pin)?)?;
            }
            let standing = Standing {
                pin: pin.clone(),
                problem: None,
            };
            all.insert(name.clone(), standing);
        } else if !names.contains(name) {
            audit::warning(&format!("pin '{name}' is about other functions, ignoring"));
        } else if files.get(first) != Some(pin) {
            audit::warning(&format!("pin '{name}' was not finished, removing it"));
            dir.remove(name)?;
        }
    }
    Ok(all)
}

fn read_files(dir: &StateDir) -> Result<BTreeMap<String, Pin>, StateError> {
    let mut files = BTreeMap::new();
    for name in dir.list(".")? {
        // No name of ours begins with a dot or ends like this.
        if name.starts_with('.') || name.ends_with(".new") {
            continue;
        }
        let file = serde_json::from_slice::<PinFile>(&dir.read(&name)?).map_err(|e| e.to_string());
        let pin = file.and_then(|file| wire::pin_from_wire(&file.pin).map_err(|e| e.to_string()));
        match pin {
            Ok(pin) => drop(files.insert(name, pin)),
            Err(error) => {
                audit::warning(&format!(
                    "pin '{name}' is not understood ({error}), ignoring"
                ));
            }
        }
    }
    Ok(files)
}

fn to_json(pin: &Pin) -> Result<Vec<u8>, StateError> {
    let file = PinFile {
        schema: SCHEMA,
        pin: wire::pin(pin, None, None),
    };
    serde_json::to_vec_pretty(&file).map_err(|error| StateError::new("write a pin", error))
}

#[cfg(test)]
mod tests {
    use vfioctl_core::claim::Owner;
    use vfioctl_core::pci::Identity;

    use super::*;

    fn pin() -> Pin {
        let original = |address: &str| Original {
            address: address.parse().unwrap(),
            identity: Identity {
                vendor: 0x1234,
                device: 0x1111,
                subsystem_vendor: 0x1af4,
                subsystem_device: 0x1100,
            },
            driver: "bochs-drm".parse().ok(),
            driver_override: None,
        };
        let claim = Claim {
            owner: Owner::person(1001),
            originals: vec![original("0000:01:00.0"), original("0000:01:00.1")],
            since: 0,
        };
        Pin::of(&claim, 7).unwrap()
    }

    fn files(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_pin_is_a_file_for_each_function_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(folder.path());
        pins.put(&pin()).unwrap();
        let names: Vec<String> = pin().names().collect();
        assert_eq!(files(folder.path()), names);
        let again = Pins::open(folder.path());
        assert!(again.has(&pin()));
        again.remove(&pin()).unwrap();
        assert!(files(folder.path()).is_empty());
        assert!(!Pins::open(folder.path()).has(&pin()));
    }

    #[test]
    fn half_a_pin_is_none_and_a_pin_is_made_whole() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = pin().names().collect();
        let write = |name: &str| {
            std::fs::write(folder.path().join(name), to_json(&pin()).unwrap()).unwrap();
        };
        write(&names[1]);
        write("0000:02:00.0-0x1234-0x1111-0x1af4-0x1100");
        write(&format!("{}.new", names[0]));
        assert!(!Pins::open(folder.path()).has(&pin()));
        assert_eq!(files(folder.path()).len(), 1, "what nobody wrote is left");
        write(&names[0]);
        assert!(Pins::open(folder.path()).has(&pin()));
        assert!(files(folder.path()).contains(&names[1]));
        assert_eq!(look_at_pins(folder.path()).unwrap(), [pin()]);
    }

    #[test]
    fn without_the_folder_there_are_no_pins_and_none_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::open(&folder.path().join("none"));
        assert!(pins.all().is_empty());
        assert!(pins.put(&pin()).is_err());
    }
}
