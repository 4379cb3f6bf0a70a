//! Names: of nodes, tasks, users and images. They stand in paths, keys, unit and container names,
//! so each has an alphabet that means nothing anywhere.

use std::fmt;

/// The text is not a name of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    /// What it should have been: `a node name`.
    what: &'static str,
    /// What such a name is made of.
    rule: &'static str,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.what, self.rule)
    }
}

impl std::error::Error for InvalidName {}

/// Whether a text is lower-case letters, digits and some signs, which do not stand at its ends.
fn is_plain(text: &str, longest: usize, signs: &[u8]) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=longest).contains(&bytes.len())
        && bytes.iter().all(|byte| is_word(*byte) || signs.contains(byte))
        && bytes.first().is_some_and(|byte| is_word(*byte))
        && bytes.last().is_some_and(|byte| is_word(*byte))
        // Two dots could leave a folder.
        && !text.contains("..")
}

/// A name: a text of a kind, checked when it is made and when it is read.
macro_rules! name {
    (
        $(#[$doc:meta])*
        $name:ident, $what:literal, $rule:literal, $is_name:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let is_name: fn(&str) -> bool = $is_name;
                if is_name(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { what: $what, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The name of a node: its host name, or what it was enrolled as.
    NodeName, "a node name",
    "1 to 63 lower-case letters, digits, inner dashes and dots",
    |text| is_plain(text, 63, b"-.")
}

name! {
    /// What a task is called by machines: made by the host, never used twice, later ones are
    /// greater.
    TaskId, "a task's number",
    "13 lower-case letters and digits",
    |text| text.len() == TaskId::LEN && is_plain(text, TaskId::LEN, b"")
}

name! {
    /// What a user calls a task.
    TaskName, "a task name",
    "1 to 63 lower-case letters, digits and inner dashes",
    |text| is_plain(text, 63, b"-")
}

name! {
    /// The name of a user of the cluster.
    UserName, "a user name",
    "1 to 32 lower-case letters, digits, inner dashes, dots and underscores",
    |text| is_plain(text, 32, b"-._")
}

name! {
    /// The name of a base image for machines: `debian-12`.
    ImageName, "an image name",
    "1 to 63 lower-case letters, digits, inner dashes, dots and underscores",
    |text| is_plain(text, 63, b"-._")
}

name! {
    /// The name of an archive that containers are made from: `my-pytorch`.
    ArchiveName, "the name of a container archive",
    "1 to 63 lower-case letters, digits, inner dashes, dots and underscores",
    |text| is_plain(text, 63, b"-._")
}

/// Crockford's alphabet: nothing in it is taken for another sign.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl TaskId {
    /// Digits: 8 for the time, 5 for chance.
    pub const LEN: usize = 13;

    /// Makes the number of a task that is submitted now: seconds since 1970, in forty bits, and
    /// 25 bits of chance.
    pub fn new(seconds: u64, chance: u32) -> Self {
        let bits = (seconds << 25) | u64::from(chance & 0x1ff_ffff);
        let digit = |index: usize| {
            let shift = 5 * (Self::LEN - 1 - index);
            let value = (bits >> shift) & 31;
            usize::try_from(value)
                .ok()
                .and_then(|value| DIGITS.get(value))
                .map_or('0', |byte| char::from(*byte))
        };
        Self((0..Self::LEN).map(digit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_nothing_to_paths_keys_and_shells() {
        let bad = [
            "", "-a", "a-", "A", "a/b", "..", "a..b", ".a", "a b", "a\n", "ä", "a:b", "*",
        ];
        for text in bad {
            assert!(text.parse::<NodeName>().is_err(), "{text:?}");
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
            assert!(text.parse::<UserName>().is_err(), "{text:?}");
        }
        assert!("gpu-1.lab".parse::<NodeName>().is_ok());
        assert!("ubuntu-22.04".parse::<ImageName>().is_ok());
        assert!(
            "a.b".parse::<TaskName>().is_err(),
            "a machine's name has no dots"
        );
        assert!("x".repeat(64).parse::<NodeName>().is_err());
    }

    #[test]
    fn later_tasks_have_greater_numbers() {
        let first = TaskId::new(1_790_000_000, u32::MAX);
        let second = TaskId::new(1_790_000_001, 0);
        assert!(first < second, "{first} {second}");
        assert_eq!(first.as_str().parse(), Ok(first));
    }

    #[test]
    fn a_name_is_checked_when_it_is_read() {
        assert!(serde_json::from_str::<NodeName>("\"a/b\"").is_err());
        let name: NodeName = serde_json::from_str("\"a\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a\"");
    }
}
