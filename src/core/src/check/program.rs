//! The version that a program of QEMU's tells.

use std::fmt;

/// A version, by its first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// The oldest QEMU that vfioctl is tested with.
pub(super) const OLDEST_TESTED: Version = Version { major: 7, minor: 2 };

/// Finds the version in 'QEMU emulator version 7.2.13 (Debian 1:7.2+dfsg-7)'.
pub(super) fn find_version(line: &str) -> Option<Version> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| *word != "version")
        .skip(1);
    let mut numbers = words.next()?.split('.');
    let number = |text: Option<&str>| {
        let digits: String = text?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    };
    Some(Version {
        major: number(numbers.next())?,
        minor: number(numbers.next())?,
    })
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_distributions_print() {
        let version = |major, minor| Some(Version { major, minor });
        let cases = [
            (
                "QEMU emulator version 7.2.13 (Debian 1:7.2+dfsg-7+deb12u18)",
                version(7, 2),
            ),
            ("QEMU emulator version 10.0.0", version(10, 0)),
            ("qemu-img version 6.2rc1 (qemu-6.2)", version(6, 2)),
            ("qemu-img: error while loading shared libraries", None),
            ("version", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(find_version(line), expected, "{line}");
        }
    }
}
