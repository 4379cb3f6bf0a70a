//! Mounts: folders of a node that a container sees, as users type them: `/data:/data:ro`.

use std::fmt;
use std::str::FromStr;

/// A folder of the node in a container.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mount {
    /// Absolute path on the node.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// Why a text is not a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidMount(String);

impl FromStr for Mount {
    type Err = InvalidMount;

    fn from_str(text: &str) -> Result<Self, InvalidMount> {
        let invalid = || InvalidMount(text.to_owned());
        let mut parts = text.split(':');
        let source = parts.next().unwrap_or_default();
        let (target, read_only) = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => (source, false),
            (Some(target), None, None) => (target, false),
            (Some(target), Some("ro"), None) => (target, true),
            (Some(target), Some("rw"), None) => (target, false),
            _ => return Err(invalid()),
        };
        if !is_path(source) || !is_path(target) {
            return Err(invalid());
        }
        Ok(Self {
            source: source.to_owned(),
            target: target.to_owned(),
            read_only,
        })
    }
}

/// Absolute, nothing that leads back up, and of a length the kernel takes (`PATH_MAX`).
fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() < 4096
        && !text.chars().any(char::is_control)
        && !text.split('/').any(|part| part == "." || part == "..")
}

impl TryFrom<String> for Mount {
    type Error = InvalidMount;

    fn try_from(text: String) -> Result<Self, InvalidMount> {
        text.parse()
    }
}

impl From<Mount> for String {
    fn from(mount: Mount) -> Self {
        mount.to_string()
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{access}", self.source, self.target)
    }
}

impl fmt::Display for InvalidMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a mount: '/on/the/node:/in/the/container', and ':ro' where it is read only",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for InvalidMount {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_a_source_a_target_and_perhaps_an_access() {
        let mount = |source: &str, target: &str, read_only| {
            Ok(Mount {
                source: source.into(),
                target: target.into(),
                read_only,
            })
        };
        assert_eq!("/a".parse(), mount("/a", "/a", false));
        assert_eq!("/a:/b".parse(), mount("/a", "/b", false));
        assert_eq!("/a:/b:ro".parse(), mount("/a", "/b", true));
        for text in [
            "",
            "a",
            "/a:b",
            "/a:/b:rx",
            "/a:/b:ro:x",
            "/a/../b",
            "/a:/b/.",
            "/a\n",
        ] {
            assert!(text.parse::<Mount>().is_err(), "{text:?}");
        }
    }
}
