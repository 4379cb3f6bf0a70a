//! Ports that machines are reached at: one a machine, remembered with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, TcpListener, ToSocketAddrs as _, UdpSocket};
use std::sync::{Mutex, PoisonError};

use vfioctl_api::TaskId;

use crate::configuration::PortRange;
use crate::limits::MAX_PORTS_TRIED;

/// Ports that machines are reached at.
#[derive(Debug)]
pub(super) struct Ports {
    listen: IpAddr,
    range: PortRange,
    given: Mutex<BTreeMap<TaskId, u16>>,
}

impl Ports {
    /// Ports of an address. None has been given yet.
    pub(super) fn of(listen: IpAddr, range: PortRange) -> Self {
        Self {
            listen,
            range,
            given: Mutex::default(),
        }
    }

    /// The address that is listened on.
    pub(super) fn listen(&self) -> IpAddr {
        self.listen
    }

    fn given(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, u16>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a port that a machine was given by an earlier runner.
    pub(super) fn remember(&self, task: &TaskId, port: u16) {
        self.given().insert(task.clone(), port);
    }

    /// Takes a port for a machine: the one that it had, where that is free.
    ///
    /// # Errors
    /// Where none is free, as a sentence.
    pub(super) fn take(&self, task: &TaskId, before: Option<u16>) -> Result<u16, String> {
        let mut given = self.given();
        let of_others: BTreeSet<u16> = given
            .iter()
            .filter(|(other, _)| *other != task)
            .map(|(_, port)| *port)
            .collect();
        let in_range = before.filter(|port| (self.range.first..=self.range.last).contains(port));
        let all = self.range.first..=self.range.last;
        let port = in_range
            .into_iter()
            .chain(all)
            .filter(|port| !of_others.contains(port))
            .take(MAX_PORTS_TRIED)
            .find(|port| TcpListener::bind((self.listen, *port)).is_ok());
        let Some(port) = port else {
            return Err(format!(
                "no port of {} from {} to {} is free ('[runner.machines] ssh_ports')",
                self.listen, self.range.first, self.range.last
            ));
        };
        given.insert(task.clone(), port);
        Ok(port)
    }

    /// Gives a port back.
    pub(super) fn give_back(&self, task: &TaskId) {
        self.given().remove(task);
    }
}

/// The address of this computer that is listened on so that it is reached at `address`: that itself, where
/// it is one of this computer's; else all, as behind a router that translates addresses.
pub(super) fn listen_address(address: &str) -> IpAddr {
    let is_own = |address: &IpAddr| UdpSocket::bind((*address, 0)).is_ok();
    let found = match address.parse() {
        Ok(address) => Some(address).filter(is_own),
        Err(_) => (address, 0).to_socket_addrs().ok().and_then(|found| {
            let mut found = found.map(|found| found.ip());
            found.find(is_own)
        }),
    };
    found.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Four ports in a row that nobody has.
    fn free_range() -> PortRange {
        (20_000..30_000)
            .step_by(4)
            .map(|first| PortRange {
                first,
                last: first + 3,
            })
            .find(|range| {
                (range.first..=range.last).all(|port| TcpListener::bind((LOCAL, port)).is_ok())
            })
            .unwrap()
    }

    #[test]
    fn no_two_machines_have_one_port_and_each_keeps_its_own() {
        let range = free_range();
        let ports = Ports::of(LOCAL, range);
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| TaskId::new(n, 0));
        ports.remember(&d, range.first);
        assert_eq!(ports.take(&a, None), Ok(range.first + 1));
        let busy = TcpListener::bind((LOCAL, range.first + 2)).unwrap();
        assert_eq!(ports.take(&b, None), Ok(range.last));
        let none = ports.take(&c, None).unwrap_err();
        assert!(none.starts_with("no port of 127.0.0.1 from "), "{none}");
        assert_eq!(ports.take(&a, Some(range.first + 1)), Ok(range.first + 1));
        drop(busy);
        // The one it had is another's by now.
        assert_eq!(ports.take(&a, Some(range.last)), Ok(range.first + 1));
        ports.give_back(&b);
        assert_eq!(ports.take(&a, Some(range.last)), Ok(range.last));
        // The range has been changed.
        assert_eq!(ports.take(&a, Some(1)), Ok(range.first + 1));
    }

    #[test]
    fn an_address_of_somebody_else_means_all_of_this_computers() {
        assert_eq!(listen_address("127.0.0.1"), LOCAL);
        assert_eq!(listen_address("localhost"), LOCAL);
        let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(listen_address("203.0.113.9"), all);
        assert_eq!(listen_address(""), all);
    }
}
