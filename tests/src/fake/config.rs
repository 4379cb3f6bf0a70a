//! Configuration space: 4096 bytes with the capabilities that are looked at.
//!
//! PCI Express Base 6.0: 7.5.1 (header), 7.5.3 (PCI Express capability), 7.7.11 (ACS).

use super::Function;

/// What a function is, as its PCI Express capability says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// An endpoint.
    Endpoint,
    /// A root port, with or without Access Control Services.
    RootPort {
        /// Whether it has them, all switched on that Linux asks for.
        acs: bool,
    },
    /// Upstream port of a switch.
    Upstream,
    /// Downstream port of a switch, without Access Control Services.
    Downstream,
    /// A bridge of conventional PCI.
    Conventional,
}

impl Port {
    /// Whether other functions hang below it.
    pub(super) fn is_bridge(self) -> bool {
        self != Self::Endpoint
    }

    /// Device/port type; `None` without the capability.
    fn pcie_type(self) -> Option<u8> {
        match self {
            Self::Endpoint => Some(0),
            Self::RootPort { .. } => Some(4),
            Self::Upstream => Some(5),
            Self::Downstream => Some(6),
            Self::Conventional => None,
        }
    }

    pub(super) fn has_acs(self) -> bool {
        matches!(self, Self::RootPort { acs: true })
    }
}

/// The bytes that a reader with `CAP_SYS_ADMIN` gets.
pub(super) fn config_space(function: &Function) -> Vec<u8> {
    let len = if function.port.pcie_type().is_some() {
        4096
    } else {
        256
    };
    let mut bytes = vec![0; len];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0x00, &function.vendor.to_le_bytes());
    put(0x02, &function.device.to_le_bytes());
    put(0x09, &function.class.to_le_bytes()[..3]);
    let multifunction = if function.is_multifunction { 0x80 } else { 0 };
    put(0x0e, &[u8::from(function.port.is_bridge()) | multifunction]);
    if !function.port.is_bridge() {
        put(0x2c, &function.subsystem.0.to_le_bytes());
        put(0x2e, &function.subsystem.1.to_le_bytes());
    }
    if let Some(pcie_type) = function.port.pcie_type() {
        // Status: there is a list; it begins at 0x40 with PCI Express (0x10), and ends there.
        put(0x06, &[0x10]);
        put(0x34, &[0x40]);
        put(0x40, &[0x10, 0x00, (pcie_type << 4) | 2]);
    }
    if function.port.has_acs() {
        // ACS (0x000d), version 1, the last of the list; SV, RR, CR and UF there and on.
        put(0x100, &0x0001_000d_u32.to_le_bytes());
        put(0x104, &[0x1d, 0x00, 0x1d, 0x00]);
    }
    bytes
}
