//! A spec: the devices of a kind, and what a container gets with each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::edits::{Edits, shown};
use crate::limits::{MAX_BYTES, MAX_DEVICES};
use crate::name::{DeviceName, Kind, is_device};

/// The devices of a kind, and what a container gets with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The version of the standard that it keeps to.
    pub version: String,
    /// The kind of its devices.
    pub kind: Kind,
    /// The devices.
    pub devices: Vec<Device>,
    /// What a container gets with any of them.
    pub edits: Edits,
}

/// A device of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its name among those of its kind.
    pub name: String,
    /// Words about it, for whoever wrote them (since 0.6).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What a container gets with it.
    #[serde(rename = "containerEdits", default)]
    pub edits: Edits,
}

/// A spec as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    cdi_version: String,
    kind: String,
    devices: Vec<Device>,
    #[serde(rename = "containerEdits", default)]
    edits: Edits,
    /// Annotations, and what a later standard may add.
    #[serde(flatten, skip_serializing)]
    _others: BTreeMap<String, Value>,
}

/// Why a text is not a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError(String);

/// Why a device has no edits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// No spec has it.
    Unknown(DeviceName),
    /// More than one spec has it, and engines refuse that too.
    Ambiguous(DeviceName),
}

impl Spec {
    /// Reads a spec, in YAML or JSON, which is YAML too.
    ///
    /// # Errors
    /// Where it is not one, is larger than any, or says what no container should be told.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_BYTES {
            return Err(SpecError(format!("it is longer than {MAX_BYTES} bytes")));
        }
        let written: Written = match text.trim_start().starts_with('{') {
            true => {
                serde_json::from_str(text).map_err(|error| SpecError(shown(&error.to_string())))?
            }
            false => serde_saphyr::from_str(text)
                .map_err(|error| SpecError(shown(&error.to_string())))?,
        };
        let kind = written
            .kind
            .parse()
            .map_err(|_| SpecError(format!("'{}' is no kind", shown(&written.kind))))?;
        let spec = Self {
            version: written.cdi_version,
            kind,
            devices: written.devices,
            edits: written.edits,
        };
        match spec.find_fault() {
            Some(fault) => Err(SpecError(fault)),
            None => Ok(spec),
        }
    }

    /// The spec as JSON, which every engine that knows CDI reads.
    pub fn to_json(&self) -> String {
        let written = Written {
            cdi_version: self.version.clone(),
            kind: self.kind.to_string(),
            devices: self.devices.clone(),
            edits: self.edits.clone(),
            _others: BTreeMap::new(),
        };
        // Maps with texts for keys can always be written.
        serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
    }

    /// What a container gets with a device of this spec.
    pub fn edits_of(&self, device: &str) -> Option<Edits> {
        let device = self.devices.iter().find(|one| one.name == device)?;
        let mut edits = self.edits.clone();
        edits.merge(&device.edits);
        Some(edits)
    }

    fn find_fault(&self) -> Option<String> {
        if !is_version(&self.version) {
            return Some(format!(
                "'{}' is no version of the standard that is known here",
                shown(&self.version)
            ));
        }
        if self.devices.is_empty() || self.devices.len() > MAX_DEVICES {
            return Some(format!(
                "it has {} devices; 1 to {MAX_DEVICES} are allowed",
                self.devices.len()
            ));
        }
        if let Some(device) = self.devices.iter().find(|device| !is_device(&device.name)) {
            return Some(format!("'{}' is no name of a device", shown(&device.name)));
        }
        let mut names = BTreeSet::new();
        if let Some(device) = self
            .devices
            .iter()
            .find(|device| !names.insert(&device.name))
        {
            return Some(format!("device '{}' is there twice", device.name));
        }
        let all = self
            .devices
            .iter()
            .map(|device| &device.edits)
            .chain([&self.edits]);
        all.into_iter().find_map(Edits::find_fault)
    }
}

/// `0.3.0` and later; 1.0 changed nothing in what is written.
fn is_version(text: &str) -> bool {
    let parts: Vec<Option<u16>> = text.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(0), Some(minor), Some(_)] => *minor >= 3,
        [Some(1), Some(_), Some(_)] => true,
        _ => false,
    }
}

/// What a container gets with a device, of whichever spec has it.
///
/// # Errors
/// Where none has it, or more than one.
pub fn resolve(specs: &[Spec], name: &DeviceName) -> Result<Edits, ResolveError> {
    let of_kind = specs.iter().filter(|spec| spec.kind == name.kind);
    let mut found = of_kind.filter_map(|spec| spec.edits_of(&name.device));
    match (found.next(), found.next()) {
        (None, _) => Err(ResolveError::Unknown(name.clone())),
        (Some(edits), None) => Ok(edits),
        (Some(_), Some(_)) => Err(ResolveError::Ambiguous(name.clone())),
    }
}

/// The one device of a kind with which a container gets a node of the host and none of its siblings:
/// names that are numbers may be of the boot before, while the node is looked up now. None where there
/// is no such device, or several specs have one.
pub fn device_with_node(
    specs: &[Spec],
    kind: &Kind,
    node: &str,
    siblings: &[String],
) -> Option<DeviceName> {
    let of_kind = specs.iter().filter(|spec| spec.kind == *kind);
    let has = |device: &&Device| {
        let nodes = &device.edits.device_nodes;
        nodes.iter().any(|one| one.on_host() == node)
            && !nodes
                .iter()
                .any(|one| siblings.iter().any(|sibling| sibling == one.on_host()))
    };
    let mut found = of_kind.flat_map(|spec| spec.devices.iter().filter(has));
    let device = found.next()?.name.clone();
    // A spec may name one device in several ways; the first is as good as any. The engine refuses
    // names that several specs have.
    Some(DeviceName {
        kind: kind.clone(),
        device,
    })
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecError {}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "no CDI specification has the device '{name}'"),
            Self::Ambiguous(name) => {
                write!(f, "more than one CDI specification has the device '{name}'")
            }
        }
    }
}

impl std::error::Error for ResolveError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// As NVIDIA's program writes it, shortened.
    const NVIDIA: &str = r#"---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args:
    - nvidia-cdi-hook
    - update-ldcache
    hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
  mounts:
  - containerPath: /usr/bin/nvidia-smi
    hostPath: /usr/bin/nvidia-smi
    options:
    - ro
    - bind
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
  name: GPU-11111111-2222-3333-4444-555555555555
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/nvidia1
  name: all
kind: nvidia.com/gpu
"#;

    #[test]
    fn a_makers_spec_in_yaml_is_read() {
        let spec = Spec::parse(NVIDIA).unwrap();
        let name: DeviceName = "nvidia.com/gpu=0".parse().unwrap();
        let edits = resolve(std::slice::from_ref(&spec), &name).unwrap();
        let nodes: Vec<&str> = edits
            .device_nodes
            .iter()
            .map(|node| node.path.as_str())
            .collect();
        assert_eq!(nodes, ["/dev/nvidiactl", "/dev/nvidia0"]);
        assert!(!edits.is_plain(), "it has a hook");
        assert_eq!(Spec::parse(&spec.to_json()), Ok(spec));
    }

    #[test]
    fn a_device_is_found_by_its_node_and_not_by_its_number() {
        let specs = [Spec::parse(NVIDIA).unwrap()];
        let kind: Kind = "nvidia.com/gpu".parse().unwrap();
        let siblings = |other: &str| vec![other.to_owned()];
        let second = device_with_node(&specs, &kind, "/dev/nvidia1", &siblings("/dev/nvidia0"));
        assert_eq!(
            second.map(|name| name.device).as_deref(),
            Some("GPU-11111111-2222-3333-4444-555555555555")
        );
        assert_eq!(device_with_node(&specs, &kind, "/dev/nvidia2", &[]), None);
    }

    #[test]
    fn a_device_that_two_specs_have_is_none() {
        let specs = [Spec::parse(NVIDIA).unwrap(), Spec::parse(NVIDIA).unwrap()];
        let name: DeviceName = "nvidia.com/gpu=0".parse().unwrap();
        assert_eq!(
            resolve(&specs, &name),
            Err(ResolveError::Ambiguous(name.clone()))
        );
        let other: DeviceName = "nvidia.com/gpu=7".parse().unwrap();
        assert_eq!(
            resolve(&specs, &other),
            Err(ResolveError::Unknown(other.clone()))
        );
    }

    #[test]
    fn hostile_specs_are_no_specs() {
        let spec = |change: (&str, &str)| NVIDIA.replace(change.0, change.1);
        let hostile = [
            String::new(),
            "[]".into(),
            "{}".into(),
            spec(("0.5.0", "9.9.9")),
            spec(("0.5.0", "x")),
            spec(("nvidia.com/gpu", "../../etc")),
            spec(("name: all", "name: 'a b'")),
            spec(("name: all", "name: '0'")),
            spec(("/usr/bin/nvidia-smi", "usr/bin/nvidia-smi")),
            spec(("/dev/nvidiactl", "/dev/../etc/shadow")),
            spec(("NVIDIA_VISIBLE_DEVICES=void", r#""A=\e[2J""#)),
            format!("{NVIDIA}#{}", "x".repeat(MAX_BYTES)),
            // Aliases that grow: each line is nine of the one before.
            (0..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
                let one = format!("*a{n}");
                format!(
                    "{text}a{0}: &a{0} [{1}]\n",
                    n + 1,
                    [one.as_str(); 9].join(",")
                )
            }),
            "[".repeat(100_000),
            "{\"a\":".repeat(100_000),
        ];
        for text in hostile {
            let error = Spec::parse(&text).unwrap_err().to_string();
            assert!(
                error.len() < 1000 && !error.chars().any(char::is_control),
                "{error:?}"
            );
        }
        let none = r#"{"cdiVersion":"0.6.0","kind":"a/b","devices":[]}"#;
        assert!(Spec::parse(none).is_err());
    }

    #[test]
    fn versions_from_0_3_on_are_known() {
        let known = ["0.3.0", "0.5.0", "0.8.0", "1.0.0", "1.1.0"].map(is_version);
        assert_eq!(known, [true; 5]);
        assert_eq!(
            ["0.2.0", "2.0.0", "0.5", "0.5.0.0", "", "-1.0.0"].map(is_version),
            [false; 6]
        );
    }
}
