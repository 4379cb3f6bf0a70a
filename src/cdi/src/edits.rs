//! Edits: what is done to a container so that it has a device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{MAX_ENTRIES, MAX_TEXT};

/// What is done to a container so that it has a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Edits {
    /// Variables, as `NAME=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Device nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_nodes: Vec<DeviceNode>,
    /// Mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs that the engine runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Groups that the container's process is in besides (since 0.7).
    #[serde(rename = "additionalGids", skip_serializing_if = "Vec::is_empty")]
    pub additional_groups: Vec<u32>,
    /// What a later standard may have added, or this crate has no use for (`intelRdt`, `netDevices`).
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A device node of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceNode {
    /// Where it is in the container.
    pub path: String,
    /// Where it is on the host (since 0.5); at the same place where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// `c`, `b`, `u` or `p`; as on the host where nothing is said.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its major number; as on the host where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// Its minor number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Its mode. Engines take 0666 where nothing is said, whatever it is on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// What the container may do with it: of `r`, `w` and `m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
    /// Its owner in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its group in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// What is mounted.
    pub host_path: String,
    /// Where.
    pub container_path: String,
    /// Options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The kind of file system (since 0.4); a bind where nothing is said.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A program that the engine runs at a moment of a container's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// The moment.
    pub hook_name: String,
    /// The program.
    pub path: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// How long it may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

impl DeviceNode {
    /// Where it is on the host.
    pub fn on_host(&self) -> &str {
        self.host_path.as_deref().unwrap_or(&self.path)
    }
}

impl Edits {
    /// Whether nodes, mounts, variables and groups are all of it, so that any engine can be told.
    pub fn is_plain(&self) -> bool {
        self.hooks.is_empty() && self.others.is_empty()
    }

    /// Adds those of another device. What both have is there once, and of a variable that both set
    /// the later value counts, as the standard has it.
    pub fn merge(&mut self, other: &Self) {
        for variable in &other.env {
            let name = variable.split('=').next().unwrap_or_default();
            self.env.retain(|old| old.split('=').next() != Some(name));
            self.env.push(variable.clone());
        }
        for node in &other.device_nodes {
            self.device_nodes.retain(|old| old.path != node.path);
            self.device_nodes.push(node.clone());
        }
        for mount in &other.mounts {
            self.mounts
                .retain(|old| old.container_path != mount.container_path);
            self.mounts.push(mount.clone());
        }
        add_new(&mut self.hooks, &other.hooks);
        add_new(&mut self.additional_groups, &other.additional_groups);
        for (name, value) in &other.others {
            self.others.insert(name.clone(), value.clone());
        }
    }

    /// The first thing about them that must not be, as a sentence.
    pub(crate) fn find_fault(&self) -> Option<String> {
        let counts = [
            ("variables", self.env.len()),
            ("device nodes", self.device_nodes.len()),
            ("mounts", self.mounts.len()),
            ("hooks", self.hooks.len()),
            ("groups", self.additional_groups.len()),
            ("other edits", self.others.len()),
        ];
        if let Some((what, count)) = counts.into_iter().find(|(_, count)| *count > MAX_ENTRIES) {
            return Some(format!("{count} {what} are more than {MAX_ENTRIES}"));
        }
        let variables = self.env.iter().find(|text| !is_variable(text));
        if let Some(text) = variables {
            return Some(format!("'{}' is no variable", shown(text)));
        }
        (self.device_nodes.iter().find_map(DeviceNode::find_fault))
            .or_else(|| self.mounts.iter().find_map(Mount::find_fault))
            .or_else(|| self.hooks.iter().find_map(Hook::find_fault))
    }
}

fn add_new<T: Clone + PartialEq>(all: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

impl DeviceNode {
    fn find_fault(&self) -> Option<String> {
        let paths = [Some(&self.path), self.host_path.as_ref()];
        if let Some(path) = paths.into_iter().flatten().find(|path| !is_path(path)) {
            return Some(format!("'{}' is no path of a device node", shown(path)));
        }
        let kind = self.kind.as_deref().unwrap_or_default();
        if !["", "b", "c", "u", "p"].contains(&kind) {
            return Some(format!("'{}' is no kind of device node", shown(kind)));
        }
        let permissions = self.permissions.as_deref().unwrap_or_default();
        if permissions.len() > 3 || !permissions.chars().all(|c| "rwm".contains(c)) {
            return Some(format!(
                "'{}' are no permissions of a device node",
                shown(permissions)
            ));
        }
        let mode = self.file_mode.filter(|mode| *mode > 0o7777);
        mode.map(|mode| format!("{mode:#o} is no mode of a device node"))
    }
}

impl Mount {
    fn find_fault(&self) -> Option<String> {
        let is_bind = self
            .kind
            .as_deref()
            .is_none_or(|kind| ["", "none", "bind"].contains(&kind));
        if !is_path(&self.container_path) || is_bind && !is_path(&self.host_path) {
            let (from, to) = (shown(&self.host_path), shown(&self.container_path));
            return Some(format!("'{from}' on '{to}' is no mount"));
        }
        let texts = self
            .options
            .iter()
            .chain(&self.kind)
            .chain([&self.host_path]);
        let wrong = texts.into_iter().find(|text| !is_text(text));
        wrong.map(|text| format!("'{}' is no option of a mount", shown(text)))
    }
}

impl Hook {
    fn find_fault(&self) -> Option<String> {
        if !is_path(&self.path) {
            return Some(format!("'{}' is no path of a hook", shown(&self.path)));
        }
        if self.args.len() > MAX_ENTRIES || self.env.len() > MAX_ENTRIES {
            return Some(format!(
                "hook '{}' has more than {MAX_ENTRIES} words",
                shown(&self.path)
            ));
        }
        let texts = self.args.iter().chain(&self.env).chain([&self.hook_name]);
        let wrong = texts.into_iter().find(|text| !is_text(text));
        wrong.map(|text| format!("'{}' is no word of a hook", shown(text)))
    }
}

/// Absolute, and nothing in it that leads back up.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && is_text(text) && !text.split('/').any(|part| part == "..")
}

fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

fn is_variable(text: &str) -> bool {
    is_text(text)
        && text
            .split_once('=')
            .is_some_and(|(name, _)| !name.is_empty())
}

/// A text of somebody's in a message: bounded, and nothing in it acts on a terminal.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(path: &str) -> DeviceNode {
        DeviceNode {
            path: path.into(),
            ..DeviceNode::default()
        }
    }

    #[test]
    fn what_two_devices_share_is_there_once() {
        let mut edits = Edits {
            env: vec!["A=1".into(), "B=1".into()],
            device_nodes: vec![node("/dev/kfd"), node("/dev/dri/card0")],
            additional_groups: vec![44],
            ..Edits::default()
        };
        let other = Edits {
            env: vec!["A=2".into()],
            device_nodes: vec![node("/dev/kfd"), node("/dev/dri/card1")],
            additional_groups: vec![44, 45],
            ..Edits::default()
        };
        edits.merge(&other);
        let expected = Edits {
            env: vec!["B=1".into(), "A=2".into()],
            device_nodes: vec![
                node("/dev/dri/card0"),
                node("/dev/kfd"),
                node("/dev/dri/card1"),
            ],
            additional_groups: vec![44, 45],
            ..Edits::default()
        };
        assert_eq!(edits, expected);
    }

    #[test]
    fn hooks_and_what_is_not_known_are_not_plain() {
        let hook: Edits =
            serde_json::from_str(r#"{"hooks":[{"hookName":"createContainer","path":"/bin/x"}]}"#)
                .unwrap();
        let unknown: Edits =
            serde_json::from_str(r#"{"netDevices":[{"hostInterfaceName":"a"}]}"#).unwrap();
        let plain: Edits = serde_json::from_str(r#"{"deviceNodes":[{"path":"/dev/a"}]}"#).unwrap();
        assert_eq!(
            [hook.is_plain(), unknown.is_plain(), plain.is_plain()],
            [false, false, true]
        );
    }

    #[test]
    fn what_could_do_harm_is_a_fault() {
        let faults = [
            r#"{"env":["A"]}"#,
            r#"{"env":["=x"]}"#,
            r#"{"env":["A=\n"]}"#,
            r#"{"deviceNodes":[{"path":"dev/a"}]}"#,
            r#"{"deviceNodes":[{"path":"/dev/../etc/shadow"}]}"#,
            r#"{"deviceNodes":[{"path":"/dev/a","hostPath":"b"}]}"#,
            r#"{"deviceNodes":[{"path":"/dev/a","type":"x"}]}"#,
            r#"{"deviceNodes":[{"path":"/dev/a","permissions":"rwx"}]}"#,
            r#"{"deviceNodes":[{"path":"/dev/a","fileMode":65535}]}"#,
            r#"{"mounts":[{"hostPath":"a","containerPath":"/b"}]}"#,
            r#"{"mounts":[{"hostPath":"/a","containerPath":"b"}]}"#,
            r#"{"mounts":[{"hostPath":"/a","containerPath":"/b","options":["\u001b[2J"]}]}"#,
            r#"{"hooks":[{"hookName":"a","path":"b"}]}"#,
            r#"{"hooks":[{"hookName":"a","path":"/b","args":["\u0000"]}]}"#,
        ];
        for text in faults {
            let edits: Edits = serde_json::from_str(text).unwrap();
            let fault = edits.find_fault().unwrap_or_else(|| panic!("{text}"));
            assert!(!fault.chars().any(char::is_control), "{fault:?}");
        }
        let tmpfs = r#"{"mounts":[{"hostPath":"tmpfs","containerPath":"/b","type":"tmpfs"}]}"#;
        let edits: Edits = serde_json::from_str(tmpfs).unwrap();
        assert_eq!(edits.find_fault(), None);
    }
}
