//! Sizes of disks as people write them: `8GiB`.

use std::fmt;
use std::str::FromStr;

use crate::limits::MAX_DISK_BYTES;

/// The size of a virtual disk: whole MiB, and no more than 16 TiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskSize(u64);

/// The text is not a size of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidDiskSize;

impl DiskSize {
    /// What a made image has where nothing is said.
    pub const USUAL: Self = Self(8 << 30);

    const MIB: u64 = 1 << 20;

    /// So many MiB.
    ///
    /// # Errors
    /// Where it is nothing, or more than a disk may have.
    pub fn of_mib(mib: u64) -> Result<Self, InvalidDiskSize> {
        let bytes = mib.checked_mul(Self::MIB).ok_or(InvalidDiskSize)?;
        let is_size = (Self::MIB..=MAX_DISK_BYTES).contains(&bytes);
        is_size.then_some(Self(bytes)).ok_or(InvalidDiskSize)
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for DiskSize {
    type Err = InvalidDiskSize;

    /// Only these units are taken: `8G` and `8GB` mean 2^30 to some and 10^9 to others.
    fn from_str(text: &str) -> Result<Self, InvalidDiskSize> {
        let units = [("TiB", 1 << 20), ("GiB", 1 << 10), ("MiB", 1)];
        let found = units
            .into_iter()
            .find_map(|(unit, mib)| Some((text.strip_suffix(unit)?, mib)));
        let (digits, mib) = found.ok_or(InvalidDiskSize)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidDiskSize);
        }
        let number: u64 = digits.parse().map_err(|_| InvalidDiskSize)?;
        Self::of_mib(number.checked_mul(mib).ok_or(InvalidDiskSize)?)
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0 / Self::MIB;
        match mib % 1024 {
            0 => write!(f, "{}GiB", mib / 1024),
            _ => write!(f, "{mib}MiB"),
        }
    }
}

impl fmt::Display for InvalidDiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size is given as '20GiB', '512MiB' or '1TiB', up to 16TiB")
    }
}

impl std::error::Error for InvalidDiskSize {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_with_clear_units_are_sizes() {
        for text in [
            "",
            "8",
            "GiB",
            "8G",
            "8GB",
            "0GiB",
            "-1GiB",
            "+1GiB",
            "1.5GiB",
            "17TiB",
            "18446744073709551616MiB",
            "17592186044416TiB",
            "٣GiB",
        ] {
            assert_eq!(text.parse::<DiskSize>(), Err(InvalidDiskSize), "{text:?}");
        }
        for (text, bytes) in [
            ("8GiB", 8 << 30),
            ("512MiB", 512 << 20),
            ("16TiB", 16 << 40),
        ] {
            assert_eq!(text.parse::<DiskSize>().unwrap().bytes(), bytes, "{text}");
        }
        assert_eq!(
            "1536MiB".parse::<DiskSize>().unwrap().to_string(),
            "1536MiB"
        );
    }
}
