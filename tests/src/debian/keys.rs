//! Keys for one machine: its own, its user's, and one that is neither.

use std::path::{Path, PathBuf};
use std::process::Command;

use vfioctl_image::HostKey;

/// The files of a key pair.
#[derive(Debug)]
pub struct KeyPair {
    /// The private key's file.
    pub private: PathBuf,
    /// The public key, on its line.
    pub public: String,
}

impl KeyPair {
    /// Makes one.
    ///
    /// # Errors
    /// Where it cannot be made, as a sentence.
    pub fn make(folder: &Path, name: &str) -> Result<Self, String> {
        let private = folder.join(name);
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&private);
        let status = command
            .status()
            .map_err(|error| format!("ssh-keygen: {error}"))?;
        if !status.success() {
            return Err(format!("ssh-keygen ended with {status}"));
        }
        let public = std::fs::read_to_string(folder.join(format!("{name}.pub")))
            .map_err(|error| error.to_string())?;
        let public = public.trim().to_owned();
        Ok(Self { private, public })
    }

    /// The pair as a machine's own.
    ///
    /// # Errors
    /// Where it is none, as a sentence.
    pub fn host_key(&self) -> Result<HostKey, String> {
        let private = std::fs::read_to_string(&self.private).map_err(|error| error.to_string())?;
        HostKey::new(&private, &self.public).map_err(|error| error.to_string())
    }
}

/// Options of `ssh`, so that nobody is asked, and no key is taken but those of this file.
pub(crate) fn ssh_options(known_hosts: &Path) -> impl Iterator<Item = String> {
    [
        "BatchMode=yes".to_owned(),
        "ConnectTimeout=20".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "GlobalKnownHostsFile=none".to_owned(),
        format!("UserKnownHostsFile={}", known_hosts.display()),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
}
