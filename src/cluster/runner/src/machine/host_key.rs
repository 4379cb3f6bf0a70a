//! The key by which a machine proves that it is itself: made here, before the machine is, so that its
//! users know it before they first connect.
//!
//! The private form is OpenSSH's own, without a passphrase (OpenSSH, `PROTOCOL.key`); the public one is
//! the line of a `known_hosts`. Ed25519 has a seed of 32 bytes (RFC 8032, section 5.1.5).

use ring::rand::SecureRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use vfioctl_image::HostKey;
use vfioctl_protocol::base64;

const KIND: &[u8] = b"ssh-ed25519";
/// Characters on a line of the private form.
const LINE: usize = 70;
/// The private half is padded to a multiple of this: the block of no cipher.
const BLOCK: usize = 8;

/// A key pair of a machine.
#[derive(Debug)]
pub(super) struct NewHostKey {
    /// As the seed takes it.
    pub(super) pair: HostKey,
    /// The private half, as a file.
    pub(super) private: String,
}

impl NewHostKey {
    /// Makes one.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub(super) fn make(random: &dyn SecureRandom) -> Result<Self, String> {
        let no_random = |_| "the system gives no random bytes for a key".to_owned();
        let (mut seed, mut check) = ([0; 32], [0; 4]);
        random.fill(&mut seed).map_err(no_random)?;
        random.fill(&mut check).map_err(no_random)?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| format!("cannot make a key: {error}"))?;
        let public = key.public_key().as_ref();
        let private = private_form(&seed, public, check);
        let line = format!("ssh-ed25519 {}", base64::encode(&public_form(public)));
        let pair = HostKey::new(&private, &line)
            .map_err(|error| format!("the key that was made is none: {error}"))?;
        Ok(Self { pair, private })
    }
}

fn public_form(public: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    put(&mut form, KIND);
    put(&mut form, public);
    form
}

fn private_form(seed: &[u8], public: &[u8], check: [u8; 4]) -> String {
    let mut secret = Vec::new();
    // Twice the same: who has decrypted it with the wrong passphrase sees it by this.
    secret.extend(check);
    secret.extend(check);
    put(&mut secret, KIND);
    put(&mut secret, public);
    put(&mut secret, &[seed, public].concat());
    put(&mut secret, b"");
    let padding = secret.len().next_multiple_of(BLOCK) - secret.len();
    secret.extend((1..=u8::MAX).take(padding));
    let mut form = b"openssh-key-v1\0".to_vec();
    for text in [&b"none"[..], b"none", b""] {
        put(&mut form, text);
    }
    form.extend(1_u32.to_be_bytes());
    put(&mut form, &public_form(public));
    put(&mut form, &secret);
    let text = base64::encode(&form);
    let mut lines = vec!["-----BEGIN OPENSSH PRIVATE KEY-----".to_owned()];
    let characters: Vec<char> = text.chars().collect();
    lines.extend(characters.chunks(LINE).map(String::from_iter));
    lines.push("-----END OPENSSH PRIVATE KEY-----\n".to_owned());
    lines.join("\n")
}

/// A text with its length before it. Those here are far below 4 GiB.
fn put(form: &mut Vec<u8>, text: &[u8]) {
    form.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    form.extend(text);
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn openssh_takes_the_key_and_finds_the_same_public_half() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = NewHostKey::make(&SystemRandom::new()).unwrap();
        crate::whole_file::write(&path, made.private.as_bytes(), 0o600).unwrap();
        let Ok(output) = Command::new("ssh-keygen").arg("-yf").arg(&path).output() else {
            eprintln!("SKIPPED: ssh-keygen is not installed here");
            return;
        };
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(said.trim_end(), made.pair.public_line(), "{output:?}");
    }

    #[test]
    fn no_two_are_the_same() {
        let line = || {
            let made = NewHostKey::make(&SystemRandom::new()).unwrap();
            made.pair.public_line().to_owned()
        };
        assert_ne!(line(), line());
    }
}
