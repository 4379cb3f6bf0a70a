//! Names as they are typed, which become a part of a path: no sign in them means anything there.

use std::fmt;
use std::str::FromStr;

use vfioctl_api::TaskId;

/// What a task is called on the command line: its number, the beginning of that, or its name. Which
/// it is, the host finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskReference(String);

/// What a token is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenId(String);

/// The text is no such name; what it should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidName(&'static str);

/// A number is one of the ways to name a task, and the only one that never means another.
impl From<&TaskId> for TaskReference {
    fn from(id: &TaskId) -> Self {
        Self(id.as_str().to_owned())
    }
}

impl FromStr for TaskReference {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (1..=63).contains(&text.len())
            && text.bytes().all(is_sign)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidName(
                "a task is named by its number, the beginning of it, or its name",
            )),
        }
    }
}

impl FromStr for TokenId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_name =
            (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidName(
                "a token is named by its ID, as 'vfioctl user list' shows it",
            )),
        }
    }
}

impl fmt::Display for TaskReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_nothing_in_a_path() {
        for text in ["01jd3k7x9qz4m", "01jd", "my-training"] {
            assert!(text.parse::<TaskReference>().is_ok(), "{text}");
        }
        for text in [
            "",
            "-a",
            "a-",
            "a/b",
            "..",
            "a?b",
            "a b",
            "A",
            "a\n",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<TaskReference>().is_err(), "{text:?}");
        }
        assert!("0a1b2c3d4e5f".parse::<TokenId>().is_ok());
        for text in ["", "a/b", "a.b", "a%2f"] {
            assert!(text.parse::<TokenId>().is_err(), "{text:?}");
        }
    }
}
