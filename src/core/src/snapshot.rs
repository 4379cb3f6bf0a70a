//! The machine as it was seen at one moment.

use std::collections::BTreeMap;
use std::fmt;

use crate::pci::{PciAddress, PciFunction};

/// Something that could not be read; the rest of the machine was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What was to be read.
    pub subject: String,
    /// Why it could not be.
    pub because: String,
}

/// What the running machine itself needs a function for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostUse {
    /// A file system is mounted from a disk behind it.
    Disk {
        /// Where it is mounted.
        mount_point: String,
    },
    /// Swap space lies on a disk behind it.
    Swap {
        /// The block device.
        device: String,
    },
    /// A route of this machine leaves by it.
    Network {
        /// The network interface.
        interface: String,
    },
    /// Firmware showed the console on it.
    Console,
    /// A keyboard is plugged into it.
    Keyboard {
        /// What the keyboard calls itself.
        name: String,
    },
}

impl fmt::Display for HostUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { mount_point } => write!(f, "carries the disk mounted at '{mount_point}'"),
            Self::Console => f.write_str("shows this machine's console"),
            Self::Keyboard { name } => write!(f, "carries the keyboard '{name}'"),
            Self::Swap { device } => write!(f, "carries the swap space '{device}'"),
            Self::Network { interface } => {
                write!(
                    f,
                    "carries the network interface '{interface}' that this machine routes by"
                )
            }
        }
    }
}

/// The machine as it was seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Every PCI function.
    pub functions: BTreeMap<PciAddress, PciFunction>,
    /// The functions that the machine lives on, bridges above them included.
    pub host_uses: BTreeMap<PciAddress, Vec<HostUse>>,
    /// A mounted file system whose disk could not be found out; then no disk controller is safe.
    pub hidden_storage: Option<String>,
    /// A network interface that the machine routes by and whose device could not be found out;
    /// then no network controller is safe.
    pub hidden_network: Option<String>,
    /// What could not be read at all.
    pub problems: Vec<Problem>,
}

impl Snapshot {
    /// The function at an address.
    pub fn function(&self, address: PciAddress) -> Option<&PciFunction> {
        self.functions.get(&address)
    }

    /// The GPUs: of every slot with some in it, the first one.
    pub fn gpus(&self) -> Vec<PciAddress> {
        let functions = self.functions.values();
        let mut slots = BTreeMap::new();
        for gpu in functions.filter(|function| function.class.is_gpu()) {
            slots
                .entry(gpu.address.first_of_slot())
                .or_insert(gpu.address);
        }
        slots.into_values().collect()
    }

    /// All functions of the device that the address belongs to.
    pub fn slot(&self, address: PciAddress) -> impl Iterator<Item = &PciFunction> {
        let of_slot = move |function: &&PciFunction| function.address.is_same_slot(address);
        // Addresses are ordered by slot, so these lie side by side.
        self.functions
            .range(address.first_of_slot()..)
            .map(|(_, function)| function)
            .take_while(of_slot)
    }
}
