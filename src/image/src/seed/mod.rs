//! The seed of a machine: what cloud-init reads at the first boot.
//!
//! A small disk labelled `CIDATA` with three files (cloud-init's data source "NoCloud"). They are
//! YAML, and are written as JSON, which YAML can read: a value stands in a string of JSON and
//! cannot get out of it. What values may be at all, their types say.
//!
//! <https://cloudinit.readthedocs.io/en/22.4.2/topics/datasources/nocloud.html>

mod authorized_key;
mod base64;
mod disk;
mod host_key;
mod identity;
mod nvidia;

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::file::{Access, write_whole};

pub use authorized_key::{AuthorizedKey, AuthorizedKeys, InvalidKey};
pub use host_key::{HostKey, InvalidHostKey};
pub use identity::{HostName, InstanceId, InvalidIdentity, MacAddress, UserName};
pub use nvidia::{InvalidNvidiaVersion, NvidiaVersion};

/// What a machine is told at its first boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Which machine it is. cloud-init does everything anew when this changes.
    pub instance_id: InstanceId,
    /// The machine's name.
    pub host_name: HostName,
    /// The user that is made, who may become root.
    pub user: UserName,
    /// Who may log in as that user; nobody can with a password.
    pub authorized_keys: AuthorizedKeys,
    /// What the machine proves by that it is itself.
    pub host_key: HostKey,
    /// Its network.
    pub network: Network,
    /// The version of NVIDIA's driver that it shall have where it finds a card of theirs.
    pub nvidia: Option<NvidiaVersion>,
}

/// The network of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Asks for an address on the network card with this hardware address; without one, on every
    /// card. Not every system can tell cards by anything else.
    Dhcp(Option<MacAddress>),
}

/// The files of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedFiles {
    /// `meta-data`.
    pub meta_data: String,
    /// `user-data`.
    pub user_data: String,
    /// `network-config`.
    pub network_config: String,
}

impl Seed {
    /// Its files.
    pub fn files(&self) -> SeedFiles {
        SeedFiles {
            meta_data: yaml(&json!({
                "instance-id": self.instance_id.as_str(),
                "local-hostname": self.host_name.as_str(),
            })),
            user_data: format!("#cloud-config\n{}", yaml(&self.user_data())),
            network_config: yaml(&self.network.config()),
        }
    }

    /// Its disk, the same bytes for the same seed.
    ///
    /// # Errors
    /// Where the files have no room on it, which they have within the limits of the types.
    pub fn to_disk(&self) -> Result<Vec<u8>, Error> {
        disk::make(&self.files())
    }

    /// Writes its disk into a file that a group may read, and nobody else: the machine's secret
    /// key is in it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, path: &Path, group: Option<u32>) -> Result<(), Error> {
        let mode = if group.is_some() { 0o640 } else { 0o600 };
        write_whole(path, &self.to_disk()?, Access { group, mode })
    }

    fn user_data(&self) -> Value {
        let keys: Vec<&str> = self.authorized_keys.lines().collect();
        let mut data = json!({
            "hostname": self.host_name.as_str(),
            "manage_etc_hosts": "localhost",
            "disable_root": true,
            "ssh_pwauth": false,
            "ssh_deletekeys": true,
            "ssh_keys": {
                "ed25519_private": self.host_key.private_key(),
                "ed25519_public": self.host_key.public_line(),
            },
            "users": [{
                "name": self.user.as_str(),
                "shell": "/bin/bash",
                "lock_passwd": true,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
            }],
        });
        // An empty list is none to cloud-init (its schema wants an entry at least).
        let user = data.pointer_mut("/users/0").and_then(Value::as_object_mut);
        if let (false, Some(user)) = (keys.is_empty(), user) {
            user.insert("ssh_authorized_keys".to_owned(), json!(keys));
        }
        if let (Some(version), Some(fields)) = (&self.nvidia, data.as_object_mut()) {
            fields.insert("write_files".to_owned(), json!([version.file()]));
            fields.insert("runcmd".to_owned(), json!([version.command()]));
        }
        data
    }
}

impl Network {
    /// Version 2 of the format, which is netplan's.
    fn config(self) -> Value {
        let Self::Dhcp(mac) = self;
        let match_ = match mac {
            Some(mac) => json!({"macaddress": mac.to_string()}),
            None => json!({"name": "e*"}),
        };
        // A card without an answer must not hold up the boot of the whole machine.
        let card = json!({"match": match_, "dhcp4": true, "dhcp6": true, "optional": true});
        json!({"version": 2, "ethernets": {"first": card}})
    }
}

/// JSON that YAML reads as the same values.
fn yaml(value: &impl Serialize) -> String {
    // A value with string keys can always be written.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text + "\n"
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
