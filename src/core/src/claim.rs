//! Claims: who has which device, for what, and how the device was before.

use std::fmt;
use std::str::FromStr;

use crate::pci::{DriverName, Identity, PciAddress, PciFunction};

/// The name of a virtual machine: what users type and what units and folders are called.
///
/// 1 to 40 lower-case letters, digits and inner dashes, so that it can stand in a unit name, a
/// path and a host name alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineName(String);

/// The text cannot be the name of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMachineName;

impl MachineName {
    /// Longest name. A Unix socket's path has room for 107 bytes (`unix(7)`), and the name stands
    /// in the path of the machine's monitor socket.
    pub const MAX_LEN: usize = 40;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MachineName {
    type Err = InvalidMachineName;

    fn from_str(text: &str) -> Result<Self, InvalidMachineName> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = (1..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(|byte| is_word(byte) || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidMachineName)
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for InvalidMachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a machine name is 1 to 40 lower-case letters, digits and inner dashes")
    }
}

impl std::error::Error for InvalidMachineName {}

/// What a claim is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A person bound the device and keeps it until released.
    Person,
    /// A virtual machine; the claim ends with it.
    Machine(MachineName),
}

/// Who has a device, and what for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The purpose.
    pub purpose: Purpose,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.purpose {
            Purpose::Person => write!(f, "user {}", self.uid),
            Purpose::Machine(name) => write!(f, "machine '{name}' of user {}", self.uid),
        }
    }
}

/// A function as it was before anything was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Where it sits.
    pub address: PciAddress,
    /// What it was; another identity at this address is another device.
    pub identity: Identity,
    /// The driver it was bound to.
    pub driver: Option<DriverName>,
    /// Its `driver_override`.
    pub driver_override: Option<String>,
}

impl Original {
    /// Records a function as it is now.
    pub fn of(function: &PciFunction) -> Self {
        Self {
            address: function.address,
            identity: function.identity,
            driver: function.driver.clone(),
            driver_override: function.driver_override.clone().known().flatten(),
        }
    }
}

/// That someone has some functions, and how the functions were before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who has them.
    pub owner: Owner,
    /// The functions, as they were before.
    pub originals: Vec<Original>,
    /// When it was made, in seconds since 1970.
    pub since: u64,
}

impl Claim {
    /// Whether the claim holds the function at the address.
    pub fn holds(&self, address: PciAddress) -> bool {
        self.originals
            .iter()
            .any(|original| original.address == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        let long = "x".repeat(MachineName::MAX_LEN + 1);
        for text in [
            "",
            "-a",
            "a-",
            "A",
            "a/b",
            "..",
            "a b",
            "a\n",
            "ä",
            long.as_str(),
        ] {
            assert_eq!(
                text.parse::<MachineName>(),
                Err(InvalidMachineName),
                "{text:?}"
            );
        }
        assert_eq!(
            "gpu-1".parse::<MachineName>().map(|name| name.to_string()),
            Ok("gpu-1".into())
        );
    }
}
