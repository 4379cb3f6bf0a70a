//! The key by which a machine proves that it is itself: ed25519, as `ssh-keygen` writes it. Whoever
//! makes the machine gives it the key, and so knows its public half before the first connection.
//!
//! The form is OpenSSH's own (its file `PROTOCOL.key`).

use std::fmt;

use super::base64::{Fields, decode};

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const KIND: &str = "ssh-ed25519";

/// A machine's key pair, without a passphrase.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey {
    private_key: String,
    public_line: String,
}

/// The texts are no such key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHostKey(&'static str);

impl HostKey {
    /// A key pair of the two files that `ssh-keygen -t ed25519` writes. What stands beside the keys,
    /// as comments, is not taken over.
    ///
    /// # Errors
    /// Where one is no ed25519 key, the private one has a passphrase, or they do not belong
    /// together.
    pub fn new(private_key: &str, public_line: &str) -> Result<Self, InvalidHostKey> {
        let mut words = public_line.split_ascii_whitespace();
        let (kind, body) = (words.next(), words.next());
        let is_public = InvalidHostKey("the public key is not 'ssh-ed25519 AAAA...'");
        let body = body.filter(|_| kind == Some(KIND)).ok_or(is_public)?;
        let public = decode(body).ok_or(is_public)?;
        let lines = private_lines(private_key).ok_or(InvalidHostKey(
            "the private key is not in OpenSSH's form, as 'ssh-keygen -t ed25519' writes it",
        ))?;
        let bytes = decode(&lines.concat()).ok_or(InvalidHostKey("the private key is damaged"))?;
        let named = public_half(&bytes).ok_or(InvalidHostKey(
            "the private key is not one ed25519 key without a passphrase",
        ))?;
        if named != public || ed25519_point(&public).is_none() {
            return Err(InvalidHostKey("the two keys do not belong together"));
        }
        Ok(Self {
            private_key: format!("{BEGIN}\n{}\n{END}\n", lines.join("\n")),
            public_line: format!("{KIND} {body}"),
        })
    }

    /// The public key on its line, for a `known_hosts`.
    pub fn public_line(&self) -> &str {
        &self.public_line
    }

    pub(super) fn private_key(&self) -> &str {
        &self.private_key
    }
}

impl fmt::Debug for HostKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostKey").field(&self.public_line).finish()
    }
}

impl fmt::Display for InvalidHostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidHostKey {}

/// The lines of Base64 between the two marks.
fn private_lines(text: &str) -> Option<Vec<&str>> {
    let mut lines = text.trim().lines().map(str::trim_end);
    if lines.next() != Some(BEGIN) {
        return None;
    }
    let mut lines: Vec<&str> = lines.collect();
    // An ed25519 key has seven lines; an empty one or a hundred are something else.
    (lines.pop() == Some(END) && lines.len() < 16).then_some(lines)
}

/// The public key that a private one names, where that is one ed25519 key in clear.
fn public_half(bytes: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(bytes.strip_prefix(MAGIC)?);
    let (cipher, derivation, options) = (fields.string()?, fields.string()?, fields.string()?);
    let is_clear = cipher == b"none" && derivation == b"none" && options.is_empty();
    if !is_clear || fields.number()? != 1 {
        return None;
    }
    let public = fields.string()?;
    let mut secret = Fields(fields.string()?);
    if !fields.0.is_empty() || secret.number()? != secret.number()? {
        return None;
    }
    let is_ed25519 = secret.string()? == KIND.as_bytes();
    let point = secret.string()?;
    // The secret key has the public one as its second half.
    let pair = secret.string()?;
    let is_pair = pair.len() == 64 && pair.ends_with(point);
    (is_ed25519 && is_pair && ed25519_point(public) == Some(point)).then_some(public)
}

/// The 32 bytes of a public key.
fn ed25519_point(public: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(public);
    let kind = fields.string()?;
    let point = fields.string()?;
    let is_whole = kind == KIND.as_bytes() && point.len() == 32 && fields.0.is_empty();
    is_whole.then_some(point)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{OTHER_PUBLIC_KEY, PRIVATE_KEY, PUBLIC_KEY};
    use super::*;

    #[test]
    fn a_pair_is_taken_without_its_comments() {
        let commented = format!("{PUBLIC_KEY} root@somewhere\n");
        let key = HostKey::new(&PRIVATE_KEY.replace('\n', "\r\n"), &commented).unwrap();
        assert_eq!(key.public_line(), PUBLIC_KEY);
        assert_eq!(key.private_key(), PRIVATE_KEY);
        assert!(!format!("{key:?}").contains("OPENSSH"));
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        let body = PRIVATE_KEY.lines().nth(1).unwrap();
        let cases = [
            (PRIVATE_KEY.to_owned(), OTHER_PUBLIC_KEY),
            (PRIVATE_KEY.to_owned(), "ssh-ed25519"),
            (PRIVATE_KEY.to_owned(), "ssh-rsa AAAA"),
            (PRIVATE_KEY.replace("OPENSSH", "RSA"), PUBLIC_KEY),
            (PRIVATE_KEY.replace(body, ""), PUBLIC_KEY),
            (PRIVATE_KEY.replace(body, "\"\n- x: y"), PUBLIC_KEY),
            (format!("{BEGIN}\n{END}\n"), PUBLIC_KEY),
            (String::new(), PUBLIC_KEY),
            (format!("{PRIVATE_KEY}{PRIVATE_KEY}"), PUBLIC_KEY),
        ];
        for (private, public) in cases {
            assert!(
                HostKey::new(&private, public).is_err(),
                "{private} {public}"
            );
        }
        // Every cut of the bytes ends in an answer.
        let lines = private_lines(PRIVATE_KEY).unwrap();
        let bytes = decode(&lines.concat()).unwrap();
        assert!(public_half(&bytes).is_some());
        for length in 0..200 {
            assert_eq!(public_half(&bytes[..length]), None, "{length}");
        }
    }
}
