//! Names of base images: what users type, and what files are called.

use std::fmt;
use std::str::FromStr;

/// The name of a base image.
///
/// 1 to 64 lower-case letters, digits, dashes and dots, with a letter or digit at both ends and
/// after each dot, so that it is a name in any folder and leaves none.
///
/// ```
/// use vfioctl_image::ImageName;
/// assert!("ubuntu-22.04".parse::<ImageName>().is_ok());
/// assert!("../shadow".parse::<ImageName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(String);

/// The text cannot be the name of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidImageName;

impl ImageName {
    /// Longest name: with its ending it is far from the 255 bytes that file systems take.
    pub const MAX_LEN: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made of the name of a file, as far as that gives one: `Debian 12.qcow2` gives
    /// `debian-12`.
    pub fn suggested_by(file_name: &str) -> Option<Self> {
        let lower = file_name.to_ascii_lowercase();
        let stem = [".qcow2", ".raw", ".img"]
            .iter()
            .find_map(|end| lower.strip_suffix(end))
            .unwrap_or(&lower);
        stem.replace(['_', ' '], "-").parse().ok()
    }
}

impl FromStr for ImageName {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, InvalidImageName> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_part = |part: &str| {
            part.bytes().all(|byte| is_word(byte) || byte == b'-')
                && part.bytes().next().is_some_and(is_word)
                && part.bytes().next_back().is_some_and(is_word)
        };
        let is_name = (1..=Self::MAX_LEN).contains(&text.len()) && text.split('.').all(is_part);
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidImageName)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for InvalidImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an image name is 1 to 64 lower-case letters and digits, with dashes and dots between \
             them",
        )
    }
}

impl std::error::Error for InvalidImageName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_or_hide_are_refused() {
        let long = "x".repeat(ImageName::MAX_LEN + 1);
        for text in [
            "", ".", "..", ".a", "a.", "a..b", "-a", "a-", "a.-b", "a-.b", "A", "a/b", "a b",
            "a\n", "ä", "a\0", "*", &long,
        ] {
            assert_eq!(text.parse::<ImageName>(), Err(InvalidImageName), "{text:?}");
        }
        for text in ["a", "debian-12", "ubuntu-22.04", "x--y", "1"] {
            assert_eq!(text.parse::<ImageName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_file_suggests_a_name_where_it_can() {
        let suggested = |text| ImageName::suggested_by(text).map(|name| name.as_str().to_owned());
        assert_eq!(suggested("Debian_12.QCOW2").as_deref(), Some("debian-12"));
        assert_eq!(suggested("jammy.img").as_deref(), Some("jammy"));
        assert_eq!(suggested("-.img"), None);
    }
}
