//! Sizes of memory, as users type them: `32G`, `512M`, `16GiB`, or a whole number of MiB.

use std::fmt;
use std::str::FromStr;

/// A size of memory in MiB.
///
/// ```
/// use vfioctl_api::MemorySize;
/// assert_eq!("32G".parse(), Ok(MemorySize::from_mib(32 * 1024)));
/// assert_eq!("16384".parse(), Ok(MemorySize::from_mib(16384)));
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemorySize(u64);

/// The text is not a size of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMemorySize;

impl MemorySize {
    /// The greatest size that is taken: 16 TiB.
    pub const MAX: Self = Self(16 << 20);

    /// A size in MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib)
    }

    /// MiB.
    pub const fn mib(self) -> u64 {
        self.0
    }
}

impl FromStr for MemorySize {
    type Err = InvalidMemorySize;

    fn from_str(text: &str) -> Result<Self, InvalidMemorySize> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| InvalidMemorySize)?;
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "m" | "mb" | "mib" => 1,
            "g" | "gb" | "gib" => 1024,
            "t" | "tb" | "tib" => 1024 * 1024,
            _ => return Err(InvalidMemorySize),
        };
        number
            .checked_mul(factor)
            .map(Self)
            .filter(|size| (Self(1)..=Self::MAX).contains(size))
            .ok_or(InvalidMemorySize)
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            mib if mib >= 1024 && mib % 1024 == 0 => write!(f, "{} GiB", mib / 1024),
            mib => write!(f, "{mib} MiB"),
        }
    }
}

impl fmt::Display for InvalidMemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory is given as '32G', '512M', or a whole number of MiB, up to 16T")
    }
}

impl std::error::Error for InvalidMemorySize {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_the_guide_writes() {
        let mib = |text: &str| text.parse::<MemorySize>().map(MemorySize::mib);
        assert_eq!(mib("512M"), Ok(512));
        assert_eq!(mib("16384"), Ok(16384));
        assert_eq!(mib("2tib"), Ok(2 << 20));
        for text in [
            "",
            "G",
            "-1",
            "1.5G",
            "1 G",
            "1K",
            "0",
            "17T",
            "99999999999999999999",
        ] {
            assert_eq!(mib(text), Err(InvalidMemorySize), "{text}");
        }
    }
}
