//! The numbers of GPUs on disk: `gpus.json` in the runner's data folder.
//!
//! A file that is not understood is an error and not replaced: numbers given anew could name other
//! cards than those that users mean.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vfioctl_api::GpuNumber;
use vfioctl_core::pci::Identity;

use super::numbers::{Known, MAX_NUMBERS, Numbers};
use crate::whole_file;

/// Longest file that is read: an entry has some 200 bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Version of the file's form.
const SCHEMA: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    schema: u32,
    gpus: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    number: GpuNumber,
    path: String,
    address: String,
    id: String,
    subsystem: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u64>,
}

/// The file with the numbers.
#[derive(Debug, Clone)]
pub(super) struct NumbersFile(PathBuf);

impl NumbersFile {
    /// The file in a data folder.
    pub(super) fn of(data: &Path) -> Self {
        Self(data.join("gpus.json"))
    }

    /// Reads it; where there is none, nothing has a number yet.
    ///
    /// # Errors
    /// Where it is there and cannot be read or understood, as a sentence.
    pub(super) fn read(&self) -> Result<Numbers, String> {
        let shown = self.0.display();
        let mut text = Vec::new();
        let read = File::open(&self.0).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Numbers::default()),
            Err(error) => return Err(format!("cannot read '{shown}': {error}")),
            Ok(_) => {}
        }
        parse(&text).map_err(|because| {
            format!(
                "'{shown}', which has the numbers of this node's GPUs, is not understood: {because}\n  \
                 try: bring it back from a backup; without the file, GPUs are numbered anew, in the \
                 order of their addresses"
            )
        })
    }

    /// Writes it; the numbers are on disk when this returns.
    ///
    /// # Errors
    /// Where it cannot be written, as a sentence.
    pub(super) fn write(&self, numbers: &Numbers) -> Result<(), String> {
        let failed =
            |error: &dyn std::fmt::Display| format!("cannot write '{}': {error}", self.0.display());
        let content = Content {
            schema: SCHEMA,
            gpus: numbers.0.iter().map(entry).collect(),
        };
        let mut text = serde_json::to_vec_pretty(&content).map_err(|error| failed(&error))?;
        text.push(b'\n');
        whole_file::write(&self.0, &text, 0o600).map_err(|error| failed(&error))
    }
}

fn entry(known: &Known) -> Entry {
    let Identity {
        subsystem_vendor,
        subsystem_device,
        ..
    } = known.identity;
    Entry {
        number: known.number,
        path: known.path.to_string(),
        address: known.address.to_string(),
        id: known.identity.to_string(),
        subsystem: format!("{subsystem_vendor:04x}:{subsystem_device:04x}"),
        name: known.name.clone(),
        memory_mib: known.memory_mib,
    }
}

fn parse(text: &[u8]) -> Result<Numbers, String> {
    let content: Content = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if content.schema != SCHEMA {
        return Err(format!("its schema is {}, not {SCHEMA}", content.schema));
    }
    if content.gpus.len() > MAX_NUMBERS {
        return Err(format!("it has more than {MAX_NUMBERS} GPUs"));
    }
    let mut all: Vec<Known> = Vec::with_capacity(content.gpus.len());
    for entry in content.gpus {
        let number = entry.number;
        let known = known(entry).map_err(|because| format!("GPU {number}: {because}"))?;
        let is_twin = |other: &Known| other.number == known.number || other.path == known.path;
        if all.iter().any(is_twin) {
            return Err(format!("GPU {number}: its number or place is there twice"));
        }
        all.push(known);
    }
    all.sort_by_key(|known| known.number);
    Ok(Numbers(all))
}

fn known(entry: Entry) -> Result<Known, String> {
    let (vendor, device) = ids(&entry.id)?;
    let (subsystem_vendor, subsystem_device) = ids(&entry.subsystem)?;
    let named = |error: &dyn std::fmt::Display| error.to_string();
    Ok(Known {
        number: entry.number,
        path: entry.path.parse().map_err(|error| named(&error))?,
        address: entry.address.parse().map_err(|error| named(&error))?,
        identity: Identity {
            vendor,
            device,
            subsystem_vendor,
            subsystem_device,
        },
        name: entry.name,
        memory_mib: entry.memory_mib,
    })
}

/// `10de:2684`.
fn ids(text: &str) -> Result<(u16, u16), String> {
    let id = |digits: &str| {
        let is_id = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id
            .then(|| u16::from_str_radix(digits, 16).ok())
            .flatten()
    };
    text.split_once(':')
        .and_then(|(vendor, device)| Some((id(vendor)?, id(device)?)))
        .ok_or_else(|| format!("'{}' is no ID, as '10de:2684' is", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::sample::{at, identity};

    fn numbers() -> Numbers {
        let known = |number: u16, path: &str| Known {
            number: number.into(),
            path: path.parse().unwrap(),
            address: at("01:00.0"),
            identity: identity(0x10de, number),
            name: (number == 3).then(|| "NVIDIA \"X\"".to_owned()),
            memory_mib: (number == 3).then_some(24_564),
        };
        Numbers(vec![
            known(0, "pci0000:00/01.0/00.0"),
            known(3, "pci0000:00/02.0/00.0"),
        ])
    }

    #[test]
    fn numbers_that_are_written_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = NumbersFile::of(folder.path());
        assert_eq!(file.read(), Ok(Numbers::default()));
        file.write(&numbers()).unwrap();
        assert_eq!(file.read(), Ok(numbers()));
    }

    #[test]
    fn a_file_that_is_not_understood_is_an_error_and_stays() {
        let entry = r#"{"number": 0, "path": "pci0000:00/01.0", "address": "0000:00:01.0", "id": "10de:2684", "subsystem": "0000:0000"}"#;
        let file =
            |schema: u32, entries: &str| format!(r#"{{"schema": {schema}, "gpus": [{entries}]}}"#);
        assert!(parse(file(1, entry).as_bytes()).is_ok());
        for text in [
            String::new(),
            "{}".into(),
            file(2, entry),
            file(1, &format!("{entry},{entry}")),
            file(1, &entry.replace("pci0000:00/01.0", "../x")),
            file(1, &entry.replace("0000:00:01.0", "x")),
            file(1, &entry.replace("10de:2684", "10de:+684")),
            file(1, &entry.replace("10de:2684", "10de")),
            file(1, &entry.replace("\"number\"", "\"numbre\"")),
            file(1, &entry.replace(": 0,", ": -1,")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("gpus.json"), &text).unwrap();
            assert!(NumbersFile::of(folder.path()).read().is_err(), "{text}");
            let left = std::fs::read_to_string(folder.path().join("gpus.json")).unwrap();
            assert_eq!(left, text);
        }
    }
}
