//! Names: `vendor.com/class=device`.

use std::fmt;
use std::str::FromStr;

use crate::limits::MAX_NAME;

/// The kind of devices that a spec is about: `nvidia.com/gpu`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(String);

/// A device's name among all: `nvidia.com/gpu=GPU-1`.
///
/// ```
/// let name: vfioctl_cdi::DeviceName = "nvidia.com/gpu=0".parse()?;
/// assert_eq!(name.kind.as_str(), "nvidia.com/gpu");
/// assert_eq!(name.device, "0");
/// # Ok::<(), vfioctl_cdi::InvalidDeviceName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName {
    /// Its kind.
    pub kind: Kind,
    /// Its name among those of its kind.
    pub device: String,
}

/// The text is no name of a device, or of a kind of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidDeviceName;

impl Kind {
    /// The kind.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Kind {
    type Err = InvalidDeviceName;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceName> {
        let is_kind = text.split_once('/').is_some_and(|(vendor, class)| {
            is_vendor_or_class(vendor, b"_-.") && is_vendor_or_class(class, b"_-")
        });
        if is_kind {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDeviceName)
        }
    }
}

/// A letter first, a letter or a digit last, and these signs between.
fn is_vendor_or_class(text: &str, signs: &[u8]) -> bool {
    let bytes = text.as_bytes();
    text.len() <= MAX_NAME
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || signs.contains(byte))
}

/// Whether a text can be the name of a device of a kind.
pub(crate) fn is_device(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.len() <= MAX_NAME
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(byte))
}

impl FromStr for DeviceName {
    type Err = InvalidDeviceName;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceName> {
        let (kind, device) = text.split_once('=').ok_or(InvalidDeviceName)?;
        if !is_device(device) {
            return Err(InvalidDeviceName);
        }
        Ok(Self {
            kind: kind.parse()?,
            device: device.to_owned(),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.device)
    }
}

impl fmt::Display for InvalidDeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a device is named 'vendor.com/class=device'")
    }
}

impl std::error::Error for InvalidDeviceName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_standard() {
        let good = [
            "nvidia.com/gpu=all",
            "vfioctl.dev/gpu=0000:01:00.0",
            "a/b=0",
            "x-y.z/c_d=GPU-1.2_3",
        ];
        for text in good {
            let name: DeviceName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
        }
        let bad = [
            "", "=", "a=b", "a/b", "a/b=", "/b=c", "a/=c", "1a/b=c", "a/b.c=d", "a/b/c=d",
            "a/b=c/d", "a/b=-c", "a/b=c\n", "a-/b=c", "a/b=c=d", "a/b=ä",
        ];
        for text in bad {
            assert_eq!(
                text.parse::<DeviceName>(),
                Err(InvalidDeviceName),
                "{text:?}"
            );
        }
        assert!(
            format!("a/b={}", "x".repeat(129))
                .parse::<DeviceName>()
                .is_err()
        );
    }
}
