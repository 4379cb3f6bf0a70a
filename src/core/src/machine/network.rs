//! A machine's connection to the network.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::str::FromStr;

use super::{FilePath, SpecError};

/// A machine's connection to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// None.
    None,
    /// QEMU's user network: outward connections, with the caller's rights, and inward ones by
    /// forwards.
    User {
        /// Ports of the host that lead to ports of the guest.
        forwards: Vec<Forward>,
    },
    /// A Unix socket at which a network process of the caller's own listens, as passt; QEMU connects
    /// to it, with the caller's rights.
    Stream {
        /// The socket.
        socket: FilePath,
    },
}

/// A port of the host that leads to a port of the guest.
///
/// ```
/// use vfioctl_core::machine::Forward;
/// let forward: Forward = "2222:22".parse()?;
/// assert_eq!(forward.to_string(), "127.0.0.1:2222:22");
/// assert!("[::1]:2222:22".parse::<Forward>().is_err());
/// # Ok::<(), vfioctl_core::machine::InvalidForward>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    /// The host's address that is listened on. Of the fourth version only: QEMU's user network
    /// forwards no other (`net/slirp.c`, `slirp_hostfwd`).
    pub address: Ipv4Addr,
    /// The host's port. QEMU opens it as the caller, so that those below 1024 are usually refused to
    /// it.
    pub port: NonZeroU16,
    /// The guest's port.
    pub guest_port: NonZeroU16,
}

/// The text is not a forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidForward(String);

impl Network {
    /// Forwards of one machine: each is a socket that QEMU listens on. Who wants more ports wants a
    /// network for the machine.
    pub const MAX_FORWARDS: usize = 32;
    /// Longest path of a Unix socket: `sun_path` has 108 bytes, with its NUL (`unix(7)`).
    pub const MAX_SOCKET_LEN: usize = 107;

    pub(super) fn check(&self) -> Result<(), SpecError> {
        match self {
            Self::None => Ok(()),
            Self::User { forwards } if forwards.len() > Self::MAX_FORWARDS => {
                Err(SpecError::Forwards(forwards.len()))
            }
            Self::User { forwards } => {
                let is_twice = |(index, forward): &(usize, &Forward)| {
                    let mut earlier = forwards.iter().take(*index);
                    earlier.any(|it| (it.address, it.port) == (forward.address, forward.port))
                };
                let twice = forwards.iter().enumerate().find(is_twice);
                twice.map_or(Ok(()), |(_, forward)| Err(SpecError::SameForward(*forward)))
            }
            Self::Stream { socket } if socket.as_str().len() > Self::MAX_SOCKET_LEN => {
                Err(SpecError::Socket(socket.as_str().to_owned()))
            }
            Self::Stream { .. } => Ok(()),
        }
    }
}

impl Forward {
    /// Where connections of this host alone come in, which is what is meant unless it is said.
    pub const DEFAULT_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;
}

impl FromStr for Forward {
    type Err = InvalidForward;

    /// `[ADDRESS:]PORT:GUEST_PORT`.
    fn from_str(text: &str) -> Result<Self, InvalidForward> {
        let parse = || {
            let mut parts = text.rsplitn(3, ':');
            let guest_port = parse_port(parts.next()?)?;
            let port = parse_port(parts.next()?)?;
            let address = match parts.next() {
                Some(address) => address.parse().ok()?,
                None => Self::DEFAULT_ADDRESS,
            };
            Some(Self {
                address,
                port,
                guest_port,
            })
        };
        parse().ok_or_else(|| InvalidForward(text.to_owned()))
    }
}

/// `parse` alone would also take a sign.
fn parse_port(text: &str) -> Option<NonZeroU16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.address, self.port, self.guest_port)
    }
}

impl fmt::Display for InvalidForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not [ADDRESS:]PORT:GUEST_PORT, with an IPv4 address and ports from 1 to 65535",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for InvalidForward {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_has_two_ports_and_perhaps_an_address() {
        let forward = |text: &str| text.parse::<Forward>().map(|forward| forward.to_string());
        assert_eq!(forward("2222:22"), Ok("127.0.0.1:2222:22".into()));
        assert_eq!(forward("0.0.0.0:1:65535"), Ok("0.0.0.0:1:65535".into()));
        for text in [
            "",
            "22",
            ":22",
            "22:",
            "0:22",
            "22:0",
            "65536:22",
            "+1:22",
            "-1:22",
            " 1:22",
            "1:22\n",
            ":1:22",
            "localhost:1:22",
            "127.1:1:22",
            "0127.0.0.1:1:22",
            "::1:1:22",
            "[::1]:1:22",
            "127.0.0.1:1:22,guestfwd=tcp:10.0.2.9:1-cmd:id",
            "127.0.0.1:1-:22",
            "1:22:tcp",
            "٣:22",
        ] {
            assert_eq!(forward(text), Err(InvalidForward(text.into())), "{text:?}");
        }
    }

    #[test]
    fn each_bound_is_kept() {
        let forwards = |count: u16| Network::User {
            forwards: (1..=count)
                .map(|port| format!("{port}:22").parse().unwrap())
                .collect(),
        };
        assert_eq!(forwards(32).check(), Ok(()));
        assert_eq!(forwards(33).check(), Err(SpecError::Forwards(33)));
        let twice = ["1:22", "0.0.0.0:1:22", "1:80"].map(|text| text.parse().unwrap());
        let network = Network::User {
            forwards: twice.to_vec(),
        };
        assert_eq!(network.check(), Err(SpecError::SameForward(twice[2])));
        let stream = |len: usize| Network::Stream {
            socket: FilePath::new(&format!("/{}", "s".repeat(len - 1))).unwrap(),
        };
        assert_eq!(stream(107).check(), Ok(()));
        assert!(matches!(stream(108).check(), Err(SpecError::Socket(_))));
    }
}
