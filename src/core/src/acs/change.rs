//! A change of ACS bits, as people type it: `+sv,+rr,-uf`.

use std::fmt;
use std::str::FromStr;

use super::{Acs, BIT_NAMES, BitNames};

/// Which bits shall be switched on, and which off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AcsChange {
    set: u16,
    clear: u16,
}

/// Why a text is not a change of ACS bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidAcsChange {
    /// A word does not begin with `+` or `-`.
    NoSign(String),
    /// No bit has that name.
    UnknownBit(String),
    /// A bit is to be both on and off.
    Contradiction(&'static str),
    /// There is no word.
    Empty,
}

impl AcsChange {
    /// Bits to be switched on.
    pub fn bits_to_set(self) -> u16 {
        self.set
    }

    /// Bits to be switched off.
    pub fn bits_to_clear(self) -> u16 {
        self.clear
    }

    /// The control register after the change.
    ///
    /// # Errors
    /// The bits to be switched on that the function does not offer; they would stay off.
    pub fn apply(self, acs: Acs) -> Result<u16, BitNames> {
        match self.set & !acs.capability() {
            0 => Ok((acs.control() | self.set) & !self.clear),
            missing => Err(BitNames(missing)),
        }
    }
}

impl FromStr for AcsChange {
    type Err = InvalidAcsChange;

    fn from_str(text: &str) -> Result<Self, InvalidAcsChange> {
        let mut change = Self { set: 0, clear: 0 };
        for word in text.split(',').map(str::trim) {
            let (sign, name) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
                (Some(name), _) => (true, name),
                (_, Some(name)) => (false, name),
                _ if word.is_empty() => return Err(InvalidAcsChange::Empty),
                _ => return Err(InvalidAcsChange::NoSign(word.to_owned())),
            };
            let known = BIT_NAMES
                .iter()
                .find(|(_, known)| known.eq_ignore_ascii_case(name));
            let Some((bit, name)) = known else {
                return Err(InvalidAcsChange::UnknownBit(name.to_owned()));
            };
            let (this, other) = if sign {
                (&mut change.set, change.clear)
            } else {
                (&mut change.clear, change.set)
            };
            if other & bit != 0 {
                return Err(InvalidAcsChange::Contradiction(name));
            }
            *this |= bit;
        }
        Ok(change)
    }
}

impl fmt::Display for AcsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in BIT_NAMES {
            let sign = match (self.set & bit != 0, self.clear & bit != 0) {
                (true, _) => '+',
                (_, true) => '-',
                _ => continue,
            };
            write!(f, "{separator}{sign}{name}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Display for InvalidAcsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSign(word) => write!(
                f,
                "'{}' begins with neither '+' (on) nor '-' (off)",
                word.escape_debug()
            ),
            Self::UnknownBit(name) => write!(
                f,
                "there is no ACS bit '{}': they are sv, tb, rr, cr, uf, ec and dt",
                name.escape_debug()
            ),
            Self::Contradiction(name) => write!(f, "'{name}' is to be both on and off"),
            Self::Empty => f.write_str("no bit is named; write for example '+sv,+rr,+cr,+uf'"),
        }
    }
}

impl std::error::Error for InvalidAcsChange {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_named_with_their_signs() {
        let change: AcsChange = "+sv,+RR,-uf".parse().unwrap();
        assert_eq!(change.apply(Acs::new(0x5f, 0x10)), Ok(0x05));
        assert_eq!(change.to_string(), "+sv,+rr,-uf");
        assert_eq!(change.apply(Acs::new(0x10, 0x10)), Err(BitNames(0x05)));
    }

    #[test]
    fn what_is_no_change_is_told_why() {
        let error = |text: &str| text.parse::<AcsChange>().unwrap_err();
        assert_eq!(error("sv"), InvalidAcsChange::NoSign("sv".into()));
        assert_eq!(error("+xy"), InvalidAcsChange::UnknownBit("xy".into()));
        assert_eq!(error("+sv,-sv"), InvalidAcsChange::Contradiction("sv"));
        assert_eq!(error(""), InvalidAcsChange::Empty);
        assert_eq!(error("+sv,"), InvalidAcsChange::Empty);
        assert_eq!(error("0x1d"), InvalidAcsChange::NoSign("0x1d".into()));
    }
}
