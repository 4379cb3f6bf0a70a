//! Spans of time, as they are typed: `30m`, `12h`, `30d`.

use std::fmt;
use std::str::FromStr;

/// A span of time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DurationArgument(u64);

/// The text is no span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidDuration;

impl DurationArgument {
    /// A hundred years: more is a slip of the finger.
    const MAX_S: u64 = 100 * 365 * 24 * 3600;

    /// Seconds.
    pub(crate) fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for DurationArgument {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
        let seconds: u64 = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            "w" => 7 * 24 * 3600,
            _ => return Err(InvalidDuration),
        };
        number
            .checked_mul(seconds)
            .filter(|seconds| (1..=Self::MAX_S).contains(seconds))
            .map(Self)
            .ok_or(InvalidDuration)
    }
}

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time is a number and its unit: '90s', '30m', '12h', '30d' or '4w'")
    }
}

impl std::error::Error for InvalidDuration {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1800),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("1w", 604_800),
        ] {
            assert_eq!(text.parse(), Ok(DurationArgument(seconds)), "{text}");
        }
        for text in [
            "",
            "30",
            "d",
            "0d",
            "-1d",
            "1.5h",
            "1 d",
            "1y",
            "99999999999999999999d",
            "36501d",
        ] {
            assert_eq!(
                text.parse::<DurationArgument>(),
                Err(InvalidDuration),
                "{text:?}"
            );
        }
    }
}
