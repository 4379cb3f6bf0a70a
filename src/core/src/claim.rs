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
        is_name(text, Self::MAX_LEN)
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidMachineName)
    }
}

/// Lower-case letters, digits and inner dashes: nothing that means something in a path, in the
/// name of a unit, or to a shell.
fn is_name(text: &str, max_len: usize) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=max_len).contains(&text.len())
        && text.bytes().all(|byte| is_word(byte) || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
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

/// The name that a container's runner claims devices by.
///
/// 1 to 63 lower-case letters, digits and inner dashes: what can be the host name of a container
/// (RFC 1123, section 2.1), and the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(String);

/// The text cannot be the name of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidContainerName;

impl ContainerName {
    /// Longest name: that of a host name's label (RFC 1035, section 2.3.4).
    pub const MAX_LEN: usize = 63;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = InvalidContainerName;

    fn from_str(text: &str) -> Result<Self, InvalidContainerName> {
        is_name(text, Self::MAX_LEN)
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidContainerName)
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for InvalidContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a container name is 1 to 63 lower-case letters, digits and inner dashes")
    }
}

impl std::error::Error for InvalidContainerName {}

/// Whom a container runs for, as its runner says. It stands in messages and decides nothing: the
/// one who claims is who the kernel says it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserLabel(String);

/// The text cannot name a user in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUserLabel;

impl UserLabel {
    /// Longest label, in bytes: an address of mail as a user's name, with room to spare. It stands
    /// in every list of claims.
    pub const MAX_LEN: usize = 128;

    /// The label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserLabel {
    type Err = InvalidUserLabel;

    fn from_str(text: &str) -> Result<Self, InvalidUserLabel> {
        let is_label =
            (1..=Self::MAX_LEN).contains(&text.len()) && !text.chars().any(char::is_control);
        is_label
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidUserLabel)
    }
}

impl fmt::Display for UserLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for InvalidUserLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a user's label is 1 to 128 bytes without control characters")
    }
}

impl std::error::Error for InvalidUserLabel {}

/// A container that uses devices with their own drivers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Its name, unique for its owner.
    pub name: ContainerName,
    /// Whether it has its devices for itself; if not, any number of containers share them.
    pub exclusive: bool,
    /// Whom it runs for.
    pub user: Option<UserLabel>,
}

/// What a claim is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A person bound the device and keeps it until released.
    Person,
    /// A virtual machine; the claim ends with it.
    Machine(MachineName),
    /// A container: its devices stay with their own drivers, and several may share one. The claim
    /// ends when its runner says so, and with the boot.
    Container(Container),
}

/// Who has a device, and what for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The purpose.
    pub purpose: Purpose,
}

impl Owner {
    /// The container, where it is one.
    pub fn container(&self) -> Option<&Container> {
        match &self.purpose {
            Purpose::Container(container) => Some(container),
            Purpose::Person | Purpose::Machine(_) => None,
        }
    }

    /// The owner in words, with the user called as given: `machine 'win' of bob`.
    pub fn called(&self, user: &str) -> String {
        match &self.purpose {
            Purpose::Person => user.to_owned(),
            Purpose::Machine(name) => format!("machine '{name}' of {user}"),
            Purpose::Container(Container {
                name, user: label, ..
            }) => match label {
                Some(label) => format!("container '{name}' of {user} for '{label}'"),
                None => format!("container '{name}' of {user}"),
            },
        }
    }

    /// The owner in words, with the user's name where it has one: `machine 'win' of user 'bob'`.
    pub fn described(&self, user: Option<&str>) -> String {
        match user {
            Some(name) => self.called(&format!("user '{name}'")),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.called(&format!("user {}", self.uid)))
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

    #[test]
    fn a_container_name_may_be_as_long_as_a_host_name() {
        let longest = "x".repeat(ContainerName::MAX_LEN);
        assert!(longest.parse::<ContainerName>().is_ok());
        for text in [
            "",
            "-a",
            "a_b",
            "a.b",
            "../a",
            "A",
            "a\0",
            &format!("{longest}x"),
        ] {
            assert_eq!(
                text.parse::<ContainerName>(),
                Err(InvalidContainerName),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_label_is_one_line_of_bounded_length() {
        for text in [
            "ann",
            "Änn Ü <ann@example.org>",
            &"x".repeat(UserLabel::MAX_LEN),
        ] {
            assert_eq!(
                text.parse::<UserLabel>().map(|label| label.0),
                Ok(text.into())
            );
        }
        for text in [
            "",
            "a\nb",
            "\u{1b}[2J",
            "a\u{9b}",
            &"ä".repeat(UserLabel::MAX_LEN),
        ] {
            assert_eq!(text.parse::<UserLabel>(), Err(InvalidUserLabel), "{text:?}");
        }
    }

    #[test]
    fn a_container_is_called_by_its_name_its_owner_and_whom_it_runs_for() {
        let owner = |user: Option<&str>| Owner {
            uid: 990,
            purpose: Purpose::Container(Container {
                name: "train".parse().unwrap(),
                exclusive: false,
                user: user.map(|user| user.parse().unwrap()),
            }),
        };
        assert_eq!(
            owner(Some("ann")).to_string(),
            "container 'train' of user 990 for 'ann'"
        );
        assert_eq!(owner(None).called("runner"), "container 'train' of runner");
    }
}
