//! The bytes of a function's configuration space, as many as were seen.
//!
//! Kernel: `config` in sysfs. Without `CAP_SYS_ADMIN` at open, a read ends after 64 bytes and
//! says nothing about it (`drivers/pci/pci-sysfs.c`, `pci_read_config`).

use std::fmt;

use super::capability::{self, ExtendedCapabilityId, StandardCapabilityId};
use super::regs;
use crate::Answer;
use crate::acs::{Acs, has_wide_registers};

/// Layout of a configuration header (PCI Express Base 6.0, section 7.5.1.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderType {
    /// Type 0: an endpoint.
    Normal,
    /// Type 1: a PCI bridge, also every PCI Express port.
    Bridge,
    /// Type 2: a CardBus bridge.
    CardBus,
    /// Anything else.
    Unknown(u8),
}

impl HeaderType {
    /// Reads the layout out of the register's bits 6:0.
    pub fn from_layout(layout: u8) -> Self {
        match layout {
            0 => Self::Normal,
            1 => Self::Bridge,
            2 => Self::CardBus,
            other => Self::Unknown(other),
        }
    }

    /// The number of the layout.
    pub fn layout(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Bridge => 1,
            Self::CardBus => 2,
            Self::Unknown(other) => other,
        }
    }

    /// Whether other functions hang below this one.
    pub fn is_bridge(self) -> bool {
        matches!(self, Self::Bridge | Self::CardBus)
    }
}

/// Device/port type of a PCI Express function (PCI Express Base 6.0, section 7.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PcieType {
    /// Endpoint.
    Endpoint,
    /// Legacy endpoint.
    LegacyEndpoint,
    /// Root port of a root complex.
    RootPort,
    /// Upstream port of a switch.
    UpstreamPort,
    /// Downstream port of a switch.
    DownstreamPort,
    /// Bridge from PCI Express to conventional PCI.
    PcieToPciBridge,
    /// Bridge from conventional PCI to PCI Express.
    PciToPcieBridge,
    /// Endpoint integrated in the root complex.
    RootComplexEndpoint,
    /// Event collector of the root complex.
    RootComplexEventCollector,
    /// A value the standard does not name.
    Reserved(u8),
}

impl PcieType {
    /// Reads the four bits of the register.
    pub fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Endpoint,
            1 => Self::LegacyEndpoint,
            4 => Self::RootPort,
            5 => Self::UpstreamPort,
            6 => Self::DownstreamPort,
            7 => Self::PcieToPciBridge,
            8 => Self::PciToPcieBridge,
            9 => Self::RootComplexEndpoint,
            10 => Self::RootComplexEventCollector,
            other => Self::Reserved(other),
        }
    }

    /// The four bits of the register.
    pub fn bits(self) -> u8 {
        match self {
            Self::Endpoint => 0,
            Self::LegacyEndpoint => 1,
            Self::RootPort => 4,
            Self::UpstreamPort => 5,
            Self::DownstreamPort => 6,
            Self::PcieToPciBridge => 7,
            Self::PciToPcieBridge => 8,
            Self::RootComplexEndpoint => 9,
            Self::RootComplexEventCollector => 10,
            Self::Reserved(other) => other,
        }
    }
}

impl fmt::Display for PcieType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Endpoint => "endpoint",
            Self::LegacyEndpoint => "legacy endpoint",
            Self::RootPort => "root port",
            Self::UpstreamPort => "switch upstream port",
            Self::DownstreamPort => "switch downstream port",
            Self::PcieToPciBridge => "PCIe-to-PCI bridge",
            Self::PciToPcieBridge => "PCI-to-PCIe bridge",
            Self::RootComplexEndpoint => "root complex endpoint",
            Self::RootComplexEventCollector => "root complex event collector",
            Self::Reserved(_) => "reserved type",
        })
    }
}

/// What the bytes that were seen say about a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigFacts {
    /// Bytes that were seen.
    pub bytes_seen: u16,
    /// Layout of the header.
    pub header_type: Answer<HeaderType>,
    /// Bit 7 of the header type byte.
    pub multifunction_bit: Answer<bool>,
    /// Device/port type; `None` for conventional PCI.
    pub pcie_type: Answer<Option<PcieType>>,
    /// Access Control Services; `None` where there is no such capability.
    pub acs: Answer<Option<Acs>>,
}

/// Something that config space can be read from, a double word at a time.
///
/// On real hardware each double word is a request to the device that takes about a microsecond,
/// so a reader of the running machine fetches only what is asked for: a walk through the
/// capabilities needs some twenty of the 1024.
pub trait ReadConfig {
    /// How many bytes this reader is given: 64 unprivileged, 256 or 4096 otherwise.
    fn bytes_seen(&self) -> usize;

    /// The little-endian double word at an offset that is a multiple of four, where it is seen.
    fn dword(&self, at: usize) -> Option<u32>;

    /// The byte at an offset, where it is seen.
    fn byte(&self, at: usize) -> Option<u8> {
        self.dword(at & !3)?.to_le_bytes().get(at & 3).copied()
    }

    /// The little-endian word at an even offset, where it is seen.
    fn word(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes([
            self.byte(at)?,
            self.byte(at.checked_add(1)?)?,
        ]))
    }

    /// Layout of the header.
    fn header_type(&self) -> Answer<HeaderType> {
        self.byte(regs::HEADER_TYPE)
            .map_or(Answer::CannotSee, |byte| {
                Answer::Known(HeaderType::from_layout(byte & regs::HEADER_TYPE_LAYOUT))
            })
    }

    /// Offset of a capability; `Known(None)` only where the whole list was seen.
    fn find_capability(&self, id: StandardCapabilityId) -> Answer<Option<usize>> {
        capability::find_capability(self, id)
    }

    /// Offset of an extended capability; `Known(None)` only where the whole list was seen.
    fn find_extended_capability(&self, id: ExtendedCapabilityId) -> Answer<Option<usize>> {
        capability::find_extended_capability(self, id)
    }

    /// The ACS registers; `Known(None)` only where the whole list was seen.
    fn find_acs(&self) -> Answer<Option<AcsRegisters>> {
        find_acs(self)
    }

    /// Everything vfioctl wants to know.
    fn facts(&self) -> ConfigFacts {
        let bytes_seen = u16::try_from(self.bytes_seen()).unwrap_or(u16::MAX);
        // A device that fell off the bus answers with ones; they are not facts about it.
        if self.word(regs::VENDOR_ID) == Some(0xffff) {
            return ConfigFacts {
                bytes_seen,
                header_type: Answer::CannotSee,
                multifunction_bit: Answer::CannotSee,
                pcie_type: Answer::CannotSee,
                acs: Answer::CannotSee,
            };
        }
        ConfigFacts {
            bytes_seen,
            header_type: self.header_type(),
            multifunction_bit: read_multifunction_bit(self),
            pcie_type: read_pcie_type(self),
            acs: self
                .find_acs()
                .map(|found| found.map(|registers| registers.acs)),
        }
    }
}

fn read_multifunction_bit(config: &(impl ReadConfig + ?Sized)) -> Answer<bool> {
    config
        .byte(regs::HEADER_TYPE)
        .map_or(Answer::CannotSee, |byte| {
            Answer::Known(byte & regs::HEADER_TYPE_MULTIFUNCTION != 0)
        })
}

fn read_pcie_type(config: &(impl ReadConfig + ?Sized)) -> Answer<Option<PcieType>> {
    let at = match config.find_capability(StandardCapabilityId::PCI_EXPRESS) {
        Answer::CannotSee => return Answer::CannotSee,
        Answer::Known(None) => return Answer::Known(None),
        Answer::Known(Some(at)) => at,
    };
    config
        .word(at + regs::PCIE_FLAGS)
        .map_or(Answer::CannotSee, |flags| {
            let bits = (flags >> regs::PCIE_FLAGS_TYPE_SHIFT) & regs::PCIE_FLAGS_TYPE_MASK;
            Answer::Known(u8::try_from(bits).ok().map(PcieType::from_bits))
        })
}

/// The ACS registers of a function, and where the one that can be written lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcsRegisters {
    /// What they hold.
    pub acs: Acs,
    /// Offset of the control register, a word.
    pub control_at: usize,
}

fn find_acs(config: &(impl ReadConfig + ?Sized)) -> Answer<Option<AcsRegisters>> {
    let at = match config.find_extended_capability(ExtendedCapabilityId::ACS) {
        Answer::CannotSee => return Answer::CannotSee,
        Answer::Known(None) => return Answer::Known(None),
        Answer::Known(Some(at)) => at,
    };
    let is_wide = match (config.word(regs::VENDOR_ID), config.word(regs::DEVICE_ID)) {
        (Some(vendor), Some(device)) => has_wide_registers(vendor, device),
        _ => return Answer::CannotSee,
    };
    // Of a double word only the lower half has bits; written is that half alone.
    let control_at = at
        + if is_wide {
            regs::ACS_WIDE_CONTROL
        } else {
            regs::ACS_CONTROL
        };
    match (
        config.word(at + regs::ACS_CAPABILITY),
        config.word(control_at),
    ) {
        (Some(capability), Some(control)) => Answer::Known(Some(AcsRegisters {
            acs: Acs::new(capability, control),
            control_at,
        })),
        _ => Answer::CannotSee,
    }
}

/// The bytes of config space that were seen, from offset 0, all at hand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigSpace {
    bytes: Vec<u8>,
}

impl ConfigSpace {
    /// Bytes beyond this are not config space (PCI Express Base 6.0, section 7.2.2).
    pub const MAX_BYTES: usize = 4096;

    /// Takes what was read; bytes past [`Self::MAX_BYTES`] are dropped.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(Self::MAX_BYTES);
        Self { bytes }
    }
}

impl ReadConfig for ConfigSpace {
    fn bytes_seen(&self) -> usize {
        self.bytes.len()
    }

    fn dword(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_port_with_acs_is_read_whole() {
        let mut bytes = vec![0_u8; 4096];
        bytes[0x06] = 0x10; // capabilities list
        bytes[0x0e] = 0x81; // bridge, multifunction
        bytes[0x34] = 0x40;
        bytes[0x40] = 0x10; // PCI Express
        bytes[0x42] = 0x42; // version 2, root port
        bytes[0x100..0x104].copy_from_slice(&0x1481_0001_u32.to_le_bytes()); // AER, next 0x148
        bytes[0x148..0x14c].copy_from_slice(&0x0001_000d_u32.to_le_bytes()); // ACS, last
        bytes[0x14c] = 0x5f;
        bytes[0x14e] = 0x1d;
        assert_eq!(
            ConfigSpace::new(bytes).facts(),
            ConfigFacts {
                bytes_seen: 4096,
                header_type: Answer::Known(HeaderType::Bridge),
                multifunction_bit: Answer::Known(true),
                pcie_type: Answer::Known(Some(PcieType::RootPort)),
                acs: Answer::Known(Some(Acs::new(0x5f, 0x1d))),
            }
        );
    }

    #[test]
    fn registers_of_sunrise_point_are_double_words() {
        let mut bytes = vec![0_u8; 4096];
        bytes[0x00..0x04].copy_from_slice(&0xa110_8086_u32.to_le_bytes());
        bytes[0x100..0x104].copy_from_slice(&0x0001_000d_u32.to_le_bytes());
        bytes[0x104] = 0x0f;
        bytes[0x106] = 0xee;
        bytes[0x108] = 0x0d;
        let found = ConfigSpace::new(bytes).find_acs();
        let acs = Acs::new(0x0f, 0x0d);
        assert_eq!(
            found,
            Answer::Known(Some(AcsRegisters {
                acs,
                control_at: 0x108
            }))
        );
    }

    #[test]
    fn a_device_off_the_bus_tells_nothing() {
        let facts = ConfigSpace::new(vec![0xff; 4096]).facts();
        assert_eq!(facts.header_type, Answer::CannotSee);
        assert_eq!(facts.acs, Answer::CannotSee);
    }

    #[test]
    fn type_numbers_survive_the_round_trip() {
        for bits in 0..16 {
            assert_eq!(PcieType::from_bits(bits).bits(), bits);
        }
        for layout in 0..128 {
            assert_eq!(HeaderType::from_layout(layout).layout(), layout);
        }
    }
}
