//! What a virtual machine shall be: a typed specification, checked once, here.
//!
//! It names files of the caller's, and nothing else that reaches QEMU's command line as text;
//! QEMU opens them with the caller's own rights.

use std::fmt;

use crate::claim::MachineName;
use crate::pci::PciAddress;

mod firmware;
mod network;

pub use firmware::{find_plain_firmware, variables_beside};
pub use network::{Forward, InvalidForward, Network};

/// A virtual machine as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// Its name, unique for its user.
    pub name: MachineName,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Virtual processors.
    pub cores: u32,
    /// What it starts from.
    pub boot: Boot,
    /// Disks, in order.
    pub disks: Vec<Disk>,
    /// Devices to pass: any function of each; the whole device goes.
    pub devices: Vec<PciAddress>,
    /// Its connection to the network.
    pub network: Network,
}

/// What a machine starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// PC BIOS (SeaBIOS), from the first disk.
    Bios,
    /// UEFI (OVMF): the code image, and the machine's own copy of the variables.
    Uefi {
        /// The firmware's code, read only.
        code: FilePath,
        /// The firmware's variables, written by the machine; `None`: nothing is kept.
        variables: Option<FilePath>,
    },
    /// A kernel given directly.
    Kernel {
        /// The kernel image.
        image: FilePath,
        /// The initial ramdisk.
        initrd: Option<FilePath>,
        /// The kernel command line.
        append: String,
    },
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The image, or a block device.
    pub path: FilePath,
    /// How the image is laid out.
    pub format: DiskFormat,
    /// Whether the machine may only read it.
    pub read_only: bool,
}

/// Layout of a disk image. It is always named: guessing it lets a guest write a header that
/// makes QEMU open other files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// Plain bytes.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

/// An absolute path of the caller's that can stand in a QEMU option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(String);

/// Why a specification is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// A path is not absolute, too long, or has control characters in it.
    Path(String),
    /// Memory outside [`MachineSpec::MEMORY_MIB`].
    Memory(u64),
    /// Processors outside [`MachineSpec::CORES`].
    Cores(u32),
    /// More disks than [`MachineSpec::MAX_DISKS`].
    Disks(usize),
    /// More devices than [`MachineSpec::MAX_DEVICES`].
    Devices(usize),
    /// The kernel command line is too long or has control characters in it.
    Append,
    /// Nothing to start from: no disk and no kernel.
    NothingToBoot,
    /// One device is named twice.
    SameDevice(PciAddress),
    /// More forwards than [`Network::MAX_FORWARDS`].
    Forwards(usize),
    /// One port of the host is forwarded twice.
    SameForward(Forward),
    /// The path is too long for a Unix socket.
    Socket(String),
}

impl FilePath {
    /// Longest path the kernel takes (`PATH_MAX`, with its NUL).
    const MAX_LEN: usize = 4095;

    /// Takes an absolute path without control characters.
    ///
    /// # Errors
    /// [`SpecError::Path`].
    pub fn new(path: &str) -> Result<Self, SpecError> {
        let is_path = path.starts_with('/')
            && path.len() <= Self::MAX_LEN
            && !path.chars().any(char::is_control);
        is_path
            .then(|| Self(path.to_owned()))
            .ok_or_else(|| SpecError::Path(path.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl MachineSpec {
    /// Memory a machine may have, in MiB: from a few for a test program to 16 TiB.
    pub const MEMORY_MIB: std::ops::RangeInclusive<u64> = 16..=16 * 1024 * 1024;
    /// Processors a machine may have: q35 takes no more than 288 (QEMU, `hw/i386/pc_q35.c`).
    pub const CORES: std::ops::RangeInclusive<u32> = 1..=288;
    /// Disks: as many virtio functions as fit beside the rest on the root bus.
    pub const MAX_DISKS: usize = 8;
    /// Devices: each takes a root port of its own on the root bus.
    pub const MAX_DEVICES: usize = 16;
    /// Longest kernel command line (`COMMAND_LINE_SIZE` of x86 and arm64 is 2048).
    pub const MAX_APPEND: usize = 2048;

    /// Checks the numbers and lists of a specification.
    ///
    /// # Errors
    /// The first [`SpecError`].
    pub fn check(self) -> Result<Self, SpecError> {
        if !Self::MEMORY_MIB.contains(&self.memory_mib) {
            return Err(SpecError::Memory(self.memory_mib));
        }
        if !Self::CORES.contains(&self.cores) {
            return Err(SpecError::Cores(self.cores));
        }
        if self.disks.len() > Self::MAX_DISKS {
            return Err(SpecError::Disks(self.disks.len()));
        }
        if self.devices.len() > Self::MAX_DEVICES {
            return Err(SpecError::Devices(self.devices.len()));
        }
        if let Boot::Kernel { append, .. } = &self.boot {
            if append.len() > Self::MAX_APPEND || append.chars().any(char::is_control) {
                return Err(SpecError::Append);
            }
        } else if self.disks.is_empty() {
            return Err(SpecError::NothingToBoot);
        }
        for (index, device) in self.devices.iter().enumerate() {
            if self
                .devices
                .iter()
                .take(index)
                .any(|earlier| earlier == device)
            {
                return Err(SpecError::SameDevice(*device));
            }
        }
        self.network.check()?;
        Ok(self)
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(
                f,
                "'{}' is not an absolute path without control characters",
                path.escape_debug()
            ),
            Self::Memory(mib) => write!(f, "memory of {mib} MiB is outside 16 to 16777216 MiB"),
            Self::Cores(cores) => write!(f, "{cores} cores are outside 1 to 288"),
            Self::Disks(count) => write!(f, "{count} disks are more than 8"),
            Self::Devices(count) => write!(f, "{count} devices are more than 16"),
            Self::Append => f.write_str(
                "the kernel command line is longer than 2048 bytes or has control characters in it",
            ),
            Self::NothingToBoot => {
                f.write_str("there is neither a disk nor a kernel to start from")
            }
            Self::SameDevice(address) => write!(f, "{address} is named twice"),
            Self::Forwards(count) => write!(f, "{count} forwards are more than 32"),
            Self::SameForward(Forward { address, port, .. }) => {
                write!(f, "port {port} of {address} is forwarded twice")
            }
            Self::Socket(path) => write!(
                f,
                "'{}' is longer than the 107 bytes that the path of a Unix socket may have",
                path.escape_debug()
            ),
        }
    }
}

impl std::error::Error for SpecError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> MachineSpec {
        MachineSpec {
            name: "m".parse().unwrap(),
            memory_mib: 64,
            cores: 1,
            boot: Boot::Kernel {
                image: FilePath::new("/k").unwrap(),
                initrd: None,
                append: String::new(),
            },
            disks: Vec::new(),
            devices: Vec::new(),
            network: Network::None,
        }
    }

    #[test]
    fn a_small_machine_is_one() {
        assert_eq!(spec().check(), Ok(spec()));
    }

    #[test]
    fn each_bound_is_kept() {
        let mut bad = spec();
        bad.memory_mib = 15;
        assert_eq!(bad.check(), Err(SpecError::Memory(15)));
        let mut bad = spec();
        bad.cores = 0;
        assert_eq!(bad.check(), Err(SpecError::Cores(0)));
        let mut bad = spec();
        bad.boot = Boot::Bios;
        assert_eq!(bad.check(), Err(SpecError::NothingToBoot));
        let device: PciAddress = "0000:01:00.0".parse().unwrap();
        let mut bad = spec();
        bad.devices = vec![device, device];
        assert_eq!(bad.check(), Err(SpecError::SameDevice(device)));
        let mut bad = spec();
        bad.devices = vec![device; 17];
        assert_eq!(bad.check(), Err(SpecError::Devices(17)));
    }

    #[test]
    fn paths_are_absolute_and_plain() {
        for path in ["", "a", "./a", "/a\nb", "/\0"] {
            assert_eq!(FilePath::new(path), Err(SpecError::Path(path.to_owned())));
        }
    }
}
