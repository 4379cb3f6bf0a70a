//! The key by which a task's server is known. It is made with the task and lies in its folder, so it stays
//! the same as long as the task does.

use std::path::Path;

use ring::rand::SecureRandom as _;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};

use crate::container::folder::write_whole;

/// Longest file that is read back; the key has some 400 bytes.
const MAX_BYTES: u64 = 4096;

/// The key by which a task's server is known.
#[derive(Clone)]
pub(in crate::container) struct HostKey(pub(super) PrivateKey);

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostKey")
    }
}

impl HostKey {
    /// The key of a file; it is made where there is none.
    ///
    /// # Errors
    /// Where it can neither be read nor made, as a sentence.
    pub(in crate::container) fn read_or_make(path: &Path) -> Result<Self, String> {
        use std::io::Read as _;
        let shown = path.display();
        match std::fs::File::open(path) {
            Ok(file) => {
                let mut text = Vec::new();
                file.take(MAX_BYTES)
                    .read_to_end(&mut text)
                    .map_err(|error| format!("'{shown}': {error}"))?;
                let key = PrivateKey::from_openssh(text)
                    .map_err(|error| format!("'{shown}' is no key: {error}"))?;
                Ok(Self(key))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = make()?;
                let text = key
                    .to_openssh(LineEnding::LF)
                    .map_err(|error| error.to_string())?;
                write_whole(path, text.as_bytes(), true)
                    .map_err(|error| format!("'{shown}': {error}"))?;
                Ok(Self(key))
            }
            Err(error) => Err(format!("'{shown}': {error}")),
        }
    }

    /// Its public half, on a line.
    pub(in crate::container) fn public(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }
}

fn make() -> Result<PrivateKey, String> {
    let mut seed = [0; 32];
    let random = ring::rand::SystemRandom::new();
    random
        .fill(&mut seed)
        .map_err(|_| "the system gives no random bytes".to_owned())?;
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, "").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_nobodys_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = HostKey::read_or_make(&path).unwrap().public();
        assert!(key.starts_with("ssh-ed25519 AAAA"), "{key}");
        assert_eq!(HostKey::read_or_make(&path).unwrap().public(), key);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let other = HostKey::read_or_make(&folder.path().join("other"))
            .unwrap()
            .public();
        assert_ne!(other, key);
    }

    #[test]
    fn what_is_no_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "x").unwrap();
        assert!(HostKey::read_or_make(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
    }
}
