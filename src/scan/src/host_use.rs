//! What the running machine itself needs PCI functions for: disks, swap, network.
//!
//! Kernel: `/proc/PID/mountinfo` and `/proc/swaps` name block devices, `/proc/net/route` and
//! `/proc/net/ipv6_route` name interfaces; the links below `/sys/dev/block/` and `/sys/class/net/`
//! lead to the devices, and every PCI address on the way is needed. Process 1 is asked, so that
//! the name spaces of a confined reader do not hide the machine's; `CAP_SYS_PTRACE` is needed
//! for that, and where it is missing the reader's own view is taken.

use std::collections::{BTreeMap, BTreeSet};

use vfioctl_core::pci::PciAddress;
use vfioctl_core::{HostUse, Problem, Snapshot};

use crate::{ReadError, Root, SysRoot};

/// Stacks of block devices (LUKS on LVM on RAID ...) are not deeper than this; the kernel's own
/// stacking of device mappers has lower bounds.
const MAX_DEPTH: usize = 16;

/// File systems whose disks cannot be found out from here.
const OPAQUE: [&str; 2] = ["zfs", "bcachefs"];

/// Whose view of mounts and routes is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostView {
    /// Process 1's where it can be seen, otherwise this process' own: for showing.
    BestEffort,
    /// Process 1's or none: for whoever is going to take devices. A confined process sees less of
    /// the machine than there is (`ProtectHome=` hides mounts), and would take what it cannot see.
    Required,
}

/// Reads what the machine lives on into a snapshot.
///
/// # Errors
/// Where process 1's view is required and cannot be seen.
pub(crate) fn read_host_uses(
    root: &SysRoot,
    view: HostView,
    snapshot: &mut Snapshot,
) -> Result<(), ReadError> {
    let mut reader = Reader {
        sys: &root.sys,
        view,
        uses: BTreeMap::new(),
        problems: Vec::new(),
    };
    if let Some(text) = reader.read_of_init(&root.proc, "mountinfo")? {
        snapshot.hidden_storage = reader.mounts(&text);
    }
    if let Some(text) = reader.note(root.proc.read_text("swaps")) {
        reader.swaps(&text);
    }
    let mut interfaces = BTreeSet::new();
    if let Some(text) = reader.read_of_init(&root.proc, "net/route")? {
        interfaces.extend(routed_interfaces(&text));
    }
    if let Some(text) = reader.read_of_init(&root.proc, "net/ipv6_route")? {
        interfaces.extend(default_interfaces_v6(&text));
    }
    for interface in interfaces {
        let host_use = HostUse::Network {
            interface: interface.clone(),
        };
        if !reader.interface(&interface, &host_use, 0) {
            snapshot.hidden_network = Some(interface);
        }
    }
    snapshot.host_uses = reader
        .uses
        .into_iter()
        .map(|(at, uses)| (at, uses.into_iter().collect()))
        .collect();
    snapshot.problems.append(&mut reader.problems);
    Ok(())
}

struct Reader<'a> {
    sys: &'a Root,
    view: HostView,
    uses: BTreeMap<PciAddress, BTreeSet<HostUse>>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn note<T>(&mut self, read: Result<Option<T>, ReadError>) -> Option<T> {
        read.unwrap_or_else(|error| {
            let subject = error.path().to_owned();
            self.problems.push(Problem {
                subject,
                because: error.because(),
            });
            None
        })
    }

    fn read_of_init(&mut self, proc: &Root, name: &str) -> Result<Option<String>, ReadError> {
        match (proc.read_text(&format!("1/{name}")), self.view) {
            (Ok(Some(text)), _) => Ok(Some(text)),
            // Without IPv6 there is no such file, for anyone.
            (Ok(None), HostView::Required) => Ok(None),
            (Err(error), HostView::Required) => Err(error),
            (_, HostView::BestEffort) => Ok(self.note(proc.read_text(&format!("self/{name}")))),
        }
    }

    /// Marks the disks of every mount; tells the mount point of one whose disk is hidden.
    fn mounts(&mut self, text: &str) -> Option<String> {
        let mut hidden = None;
        for mount in text.lines().filter_map(Mount::parse) {
            let host_use = HostUse::Disk {
                mount_point: mount.mount_point.clone(),
            };
            if OPAQUE.contains(&mount.fs_type) {
                hidden = Some(mount.mount_point);
            } else if mount.fs_type == "btrfs" {
                self.btrfs(&host_use);
            } else if !mount.device.starts_with("0:") {
                // Major number 0 has no disk: proc, tmpfs, overlay, network file systems.
                let is_found = self.block(&format!("dev/block/{}", mount.device), &host_use, 0);
                if !is_found {
                    hidden = Some(mount.mount_point);
                }
            }
        }
        hidden
    }

    /// A btrfs has an anonymous device number; all its disks stand below `/sys/fs/btrfs/`.
    fn btrfs(&mut self, host_use: &HostUse) {
        for uuid in self.note(self.sys.list("fs/btrfs")).unwrap_or_default() {
            let disks = self.note(self.sys.list(&format!("fs/btrfs/{uuid}/devices")));
            for disk in disks.unwrap_or_default() {
                self.block(&format!("class/block/{disk}"), host_use, 0);
            }
        }
    }

    fn swaps(&mut self, text: &str) {
        for line in text.lines().skip(1) {
            let mut words = line.split_whitespace();
            let (Some(path), Some("partition")) = (words.next(), words.next()) else {
                continue;
            };
            let host_use = HostUse::Swap {
                device: path.to_owned(),
            };
            if let Some(name) = path.rsplit('/').next() {
                self.block(&format!("class/block/{name}"), &host_use, 0);
            }
        }
    }

    /// Marks the functions below a block device and below the ones it is made of; tells whether
    /// the device was found.
    fn block(&mut self, path: &str, host_use: &HostUse, depth: usize) -> bool {
        let Some(link) = self.note(self.sys.read_link(path)) else {
            return false;
        };
        self.mark(&link, host_use);
        if depth < MAX_DEPTH {
            let parts = self
                .note(self.sys.list(&format!("{path}/slaves")))
                .unwrap_or_default();
            for part in parts {
                self.block(&format!("class/block/{part}"), host_use, depth + 1);
            }
        }
        true
    }

    /// Marks the functions below an interface and below the ones it is made of; tells whether the
    /// interface was found.
    fn interface(&mut self, name: &str, host_use: &HostUse, depth: usize) -> bool {
        let path = format!("class/net/{name}");
        let Some(link) = self.note(self.sys.read_link(&path)) else {
            return false;
        };
        self.mark(&link, host_use);
        if depth < MAX_DEPTH {
            // Bonds, VLANs and teams have `lower_NAME`, bridges have `brif/NAME`.
            let mut below = self
                .note(self.sys.list(&format!("{path}/brif")))
                .unwrap_or_default();
            let entries = self.note(self.sys.list(&path)).unwrap_or_default();
            let lower = entries
                .iter()
                .filter_map(|entry| entry.strip_prefix("lower_"));
            below.extend(lower.map(str::to_owned));
            for name in below {
                self.interface(&name, host_use, depth + 1);
            }
        }
        true
    }

    fn mark(&mut self, link: &str, host_use: &HostUse) {
        for address in link.split('/').filter_map(|part| part.parse().ok()) {
            self.uses
                .entry(address)
                .or_default()
                .insert(host_use.clone());
        }
    }
}

/// A line of `mountinfo` (`proc(5)`).
struct Mount<'a> {
    device: &'a str,
    mount_point: String,
    fs_type: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut words = front.split(' ').skip(2);
        let device = words.next()?;
        let mount_point = words.nth(1)?.replace("\\040", " ");
        Some(Self {
            device,
            mount_point,
            fs_type: back.split(' ').next()?,
        })
    }
}

/// Interfaces that any IPv4 route leaves by.
fn routed_interfaces(text: &str) -> impl Iterator<Item = String> + '_ {
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    text.lines()
        .skip(1)
        .filter_map(first)
        .filter(|name| name != "lo")
}

/// Interfaces that an IPv6 default route leaves by. Other IPv6 routes exist for every interface
/// that is up (link-local), so they say nothing.
fn default_interfaces_v6(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_default = words
            .first()
            .is_some_and(|to| to.bytes().all(|b| b == b'0'))
            && words.get(1) == Some(&"00");
        let name = words.get(9).filter(|name| **name != "lo")?;
        is_default.then(|| (*name).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_lines_are_read() {
        let line = "36 35 254:0 / /mnt/a\\040b rw,noatime shared:1 - ext4 /dev/vda rw";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.device, mount.fs_type), ("254:0", "ext4"));
        assert_eq!(mount.mount_point, "/mnt/a b");
    }

    #[test]
    fn routes_name_their_interfaces() {
        let v4 = "Iface\tDestination\tGateway\nenp1s0\t00000000\t0202000A\nlo\t0000007F\t0\n";
        assert_eq!(routed_interfaces(v4).collect::<Vec<_>>(), ["enp1s0"]);
        let zero = "0".repeat(32);
        let link_local = format!("fe8{}", "0".repeat(29));
        let v6 = format!(
            "{zero} 00 {zero} 00 {zero} 00000400 1 0 00000001 eth0\n\
             {link_local} 40 {zero} 00 {zero} 00000100 1 0 00000001 eth1\n\
             {zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200 lo\n"
        );
        assert_eq!(default_interfaces_v6(&v6).collect::<Vec<_>>(), ["eth0"]);
    }
}
