//! Who a machine is, and who uses it: names that can stand in files and commands of any system.

use std::fmt;
use std::str::FromStr;

use vfioctl_core::claim::MachineName;

/// Users that a system has already, or that are root by another name. The names of Debian's
/// `base-passwd`, and of daemons that are in most images.
const TAKEN: [&str; 26] = [
    "root",
    "toor",
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "gnats",
    "nobody",
    "sshd",
    "messagebus",
    "systemd-network",
    "systemd-resolve",
    "systemd-timesync",
    "sudo",
    "_apt",
];

/// Which machine it is: 1 to 64 letters, digits and inner dashes, dots and underscores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceId(String);

/// The name of a host: one label of the domain name system (RFC 1123, section 2.1), in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// The name of a user whom `useradd` would make, and who is not there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(String);

/// The hardware address of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacAddress([u8; 6]);

/// The text is no such name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidIdentity(&'static str);

impl InstanceId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UserName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&MachineName> for HostName {
    fn from(name: &MachineName) -> Self {
        Self(name.as_str().to_owned())
    }
}

impl FromStr for InstanceId {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric();
        let is_inner = |byte: u8| is_word(&byte) || b"-._".contains(&byte);
        let bytes = text.as_bytes();
        let is_id = (1..=64).contains(&bytes.len())
            && text.bytes().all(is_inner)
            && bytes.first().is_some_and(is_word)
            && bytes.last().is_some_and(is_word);
        let what = "an instance id is 1 to 64 letters and digits, with '-', '.' and '_' inside";
        is_id
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidIdentity(what))
    }
}

impl FromStr for HostName {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| is_word(byte) || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        let what = "a host name is 1 to 63 lower-case letters, digits and inner dashes";
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidIdentity(what))
    }
}

impl FromStr for UserName {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        if TAKEN.contains(&text) {
            return Err(InvalidIdentity("this user is a part of the system"));
        }
        let is_first = |byte: &u8| byte.is_ascii_lowercase();
        let is_later =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let is_name = (1..=32).contains(&text.len())
            && text.as_bytes().first().is_some_and(is_first)
            && text.bytes().all(is_later);
        let what = "a user name is 1 to 32 lower-case letters, digits, '-' and '_', a letter first";
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidIdentity(what))
    }
}

impl FromStr for MacAddress {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let wrong = InvalidIdentity("a hardware address has the form '52:54:00:12:34:56'");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(wrong)?;
            let is_hex = part.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = match is_hex {
                true => u8::from_str_radix(part, 16).map_err(|_| wrong)?,
                false => return Err(wrong),
            };
        }
        // A group's address is never a card's (IEEE 802, the lowest bit of the first byte).
        match (
            parts.next(),
            bytes.first().is_some_and(|first| first & 1 == 0),
        ) {
            (None, true) => Ok(Self(bytes)),
            _ => Err(wrong),
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for InvalidIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidIdentity {}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 12] = [
        "", " ", "a b", "a\nb", "a: b", "a\"", "a'", "-a", "$(id)", "../a", "ä", "a\0",
    ];

    #[test]
    fn hostile_names_are_no_names() {
        for text in HOSTILE {
            assert!(text.parse::<InstanceId>().is_err(), "{text:?}");
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
            assert!(text.parse::<UserName>().is_err(), "{text:?}");
            assert!(text.parse::<MacAddress>().is_err(), "{text:?}");
        }
        for text in ["A", "a.b", "a-", "a_b", &"x".repeat(64)] {
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
        }
        for text in ["root", "_apt", "www-data", "1a", "A", &"x".repeat(33)] {
            assert!(text.parse::<UserName>().is_err(), "{text:?}");
        }
        for text in [
            "52:54:00:12:34",
            "52:54:00:12:34:5",
            "52:54:00:12:34:56:78",
            "53:54:00:12:34:56",
            "+2:54:00:12:34:56",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn ordinary_names_are_taken_as_they_are() {
        assert_eq!(
            "vps-1_x.2".parse::<InstanceId>().unwrap().as_str(),
            "vps-1_x.2"
        );
        assert_eq!("gpu-1".parse::<HostName>().unwrap().as_str(), "gpu-1");
        assert_eq!("alice_2".parse::<UserName>().unwrap().as_str(), "alice_2");
        let mac: MacAddress = "52:54:00:AB:34:56".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:34:56");
        let machine: MachineName = "train".parse().unwrap();
        assert_eq!(HostName::from(&machine).as_str(), "train");
    }
}
