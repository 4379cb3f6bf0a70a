//! Access: users and tokens, as the store has them. What makes a token one is not in it.

use serde::{Deserialize, Serialize};
use vfioctl_api::{Moment, NodeName, Role, TokenView, UserName};

use crate::cluster::hex;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    pub(crate) role: Role,
    pub(crate) created: Moment,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) user: UserName,
    pub(crate) digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    pub(crate) created: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Moment>,
}

/// A token to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinRecord {
    pub(crate) node: NodeName,
    pub(crate) digest: String,
    pub(crate) expires: Moment,
}

impl TokenRecord {
    /// What is shown of it.
    pub(crate) fn view(&self, id: &str) -> TokenView {
        TokenView {
            id: id.to_owned(),
            note: self.note.clone(),
            created: self.created,
            expires: self.expires,
        }
    }
}

/// A token as it is typed: `vfioctl_ID_SECRET`. Tools that look for secrets in files know it by its
/// beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenText<'t> {
    /// Names it.
    pub(crate) id: &'t str,
    /// Makes it one: 256 bits that nobody can guess, so that a plain digest of it is safe to keep.
    pub(crate) secret: &'t str,
}

impl<'t> TokenText<'t> {
    /// Makes the text of a token.
    pub(crate) fn make(id: &[u8; 6], secret: &[u8; 32]) -> String {
        format!("vfioctl_{}_{}", hex(id), hex(secret))
    }

    /// Reads one.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("vfioctl_")?.split_once('_')?;
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (id.len() == 12 && secret.len() == 64 && is_hex(id) && is_hex(secret))
            .then_some(Self { id, secret })
    }
}

/// SHA-256, in hexadecimal. Digests may be compared byte by byte: how long that takes tells about the
/// digest and nothing about the secret.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_by_its_form() {
        let text = TokenText::make(&[1; 6], &[2; 32]);
        let token = TokenText::parse(&text).unwrap();
        assert_eq!((token.id, token.secret.len()), ("010101010101", 64));
        for bad in [
            "",
            "vfioctl_",
            "vfioctl_a_b",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
        ] {
            assert_eq!(TokenText::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        // FIPS 180-4, the example of one block.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), expected);
    }
}
