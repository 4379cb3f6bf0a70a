//! Public keys that may log in, as they stand in `~/.ssh/*.pub`.

use std::fmt;
use std::str::FromStr;

use super::base64::{Fields, decode};
use crate::limits::{MAX_AUTHORIZED_KEYS, MAX_KEY_BYTES};

/// Kinds of keys that OpenSSH 9 takes for users.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A public key that may log in: one line `KIND BASE64 [COMMENT]`, without options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedKey(String);

/// Public keys that may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedKeys(Vec<AuthorizedKey>);

/// The text is no public key, or there is none, or there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidKey(&'static str);

impl AuthorizedKey {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AuthorizedKeys {
    /// These keys.
    ///
    /// # Errors
    /// Where there is none, since nobody could ever log in, or too many.
    pub fn new(keys: Vec<AuthorizedKey>) -> Result<Self, InvalidKey> {
        match keys.len() {
            0 => Err(InvalidKey("there is no key, so nobody could log in")),
            1..=MAX_AUTHORIZED_KEYS => Ok(Self(keys)),
            _ => Err(InvalidKey("there are more than 64 keys")),
        }
    }

    /// No key: the image has other ways in, or none are wanted.
    pub fn nobody() -> Self {
        Self(Vec::new())
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AuthorizedKey::as_str)
    }
}

impl FromStr for AuthorizedKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let line = text.trim_matches([' ', '\n', '\r']);
        if line.len() > MAX_KEY_BYTES {
            return Err(InvalidKey("the key is too long"));
        }
        // Line ends that YAML knows beside the usual ones, and what it takes for no character.
        let is_strange = |character: char| {
            let others = ['\u{2028}', '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}'];
            character.is_control() || others.contains(&character)
        };
        if line.chars().any(is_strange) {
            return Err(InvalidKey(
                "the key has control characters, or is more than one line",
            ));
        }
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(body)) = (words.next(), words.next()) else {
            return Err(InvalidKey(
                "a public key has the form 'ssh-ed25519 AAAA... comment'",
            ));
        };
        // Options before the kind could run a command; nobody who asks for a machine needs them.
        if !KINDS.contains(&kind) {
            return Err(InvalidKey(
                "a public key begins with its kind, as 'ssh-ed25519'",
            ));
        }
        let bytes = decode(body).ok_or(InvalidKey("the body of the key is not Base64"))?;
        let mut fields = Fields(&bytes);
        match fields.string() == Some(kind.as_bytes()) && fields.string().is_some() {
            true => Ok(Self(line.to_owned())),
            false => Err(InvalidKey(
                "the body of the key is not of the kind that it says",
            )),
        }
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::super::sample::PUBLIC_KEY;
    use super::*;

    #[test]
    fn a_key_is_its_line_with_any_comment() {
        for line in [
            PUBLIC_KEY.to_owned(),
            format!("{PUBLIC_KEY} müller's \"key\" # : {{}}"),
        ] {
            let key: AuthorizedKey = format!("{line}\n").parse().unwrap();
            assert_eq!(key.as_str(), line);
        }
    }

    #[test]
    fn what_could_do_more_than_log_in_is_refused() {
        let body = PUBLIC_KEY.split(' ').nth(1).unwrap();
        let long = format!("{PUBLIC_KEY} {}", "x".repeat(MAX_KEY_BYTES));
        for text in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 ",
            "ssh-ed25519 AAAA",
            &format!("command=\"id\" {PUBLIC_KEY}"),
            &format!("{PUBLIC_KEY}\n{PUBLIC_KEY}"),
            &format!("{PUBLIC_KEY} a\rb"),
            &format!("{PUBLIC_KEY} a\u{85}b"),
            &format!("{PUBLIC_KEY} a\u{2028}b"),
            &format!("{PUBLIC_KEY} a\0b"),
            &format!("ssh-rsa {body}"),
            &format!("ssh-dss {body}"),
            &format!("ssh-ed25519  {body}"),
            &format!("# {PUBLIC_KEY}"),
            &long,
        ] {
            assert!(text.parse::<AuthorizedKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn keys_are_at_least_one_and_not_too_many() {
        let key: AuthorizedKey = PUBLIC_KEY.parse().unwrap();
        assert!(AuthorizedKeys::new(Vec::new()).is_err());
        assert!(AuthorizedKeys::new(vec![key.clone(); 64]).is_ok());
        assert!(AuthorizedKeys::new(vec![key; 65]).is_err());
    }
}
