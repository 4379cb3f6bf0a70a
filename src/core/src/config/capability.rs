//! Walks through capability lists that cannot loop.

use super::regs;
use super::{HeaderType, ReadConfig};
use crate::Answer;

/// Number of a capability in the list of the first 256 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StandardCapabilityId(pub u8);

impl StandardCapabilityId {
    /// PCI Express (PCI Code and ID Assignment, section 2).
    pub const PCI_EXPRESS: Self = Self(0x10);
}

/// Number of a capability in the list that begins at 0x100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExtendedCapabilityId(pub u16);

impl ExtendedCapabilityId {
    /// Access Control Services (PCI Code and ID Assignment, section 3).
    pub const ACS: Self = Self(0x000d);
    /// Single Root I/O Virtualization (PCI Code and ID Assignment, section 3).
    pub const SRIOV: Self = Self(0x0010);
}

/// Capabilities fit at most this often into 192 bytes at four bytes each; the kernel's own walk
/// gives up at the same number (`drivers/pci/pci.c`, `PCI_FIND_CAP_TTL` is 48).
const STANDARD_LIMIT: usize = 48;
/// Capabilities of eight bytes fit this often into 3840 bytes (`drivers/pci/pci.c`,
/// `pci_find_next_ext_capability`).
const EXTENDED_LIMIT: usize = 480;

/// Offset of a capability; `Known(None)` only where the whole list was seen.
pub(super) fn find_capability(
    config: &(impl ReadConfig + ?Sized),
    id: StandardCapabilityId,
) -> Answer<Option<usize>> {
    let Some(status) = config.word(regs::STATUS) else {
        return Answer::CannotSee;
    };
    if status & regs::STATUS_CAPABILITIES == 0 {
        return Answer::Known(None);
    }
    let pointer = match config.header_type() {
        Answer::Known(HeaderType::CardBus) => regs::CARDBUS_CAPABILITIES_POINTER,
        Answer::Known(_) => regs::CAPABILITIES_POINTER,
        Answer::CannotSee => return Answer::CannotSee,
    };
    let Some(mut at) = config.byte(pointer) else {
        return Answer::CannotSee;
    };
    for _ in 0..STANDARD_LIMIT {
        let offset = usize::from(at & regs::CAPABILITY_POINTER_MASK);
        // Below 0x40 lies the header: the list has ended, or is broken.
        if offset < 0x40 {
            return Answer::Known(None);
        }
        let (Some(found), Some(next)) = (config.byte(offset), config.byte(offset + 1)) else {
            return Answer::CannotSee;
        };
        if found == 0xff {
            return Answer::Known(None);
        }
        if found == id.0 {
            return Answer::Known(Some(offset));
        }
        at = next;
    }
    Answer::Known(None)
}

/// Offset of an extended capability; `Known(None)` only where the whole list was seen.
pub(super) fn find_extended_capability(
    config: &(impl ReadConfig + ?Sized),
    id: ExtendedCapabilityId,
) -> Answer<Option<usize>> {
    // A function whose config space ends at 256 bytes has no such list. The kernel gives such
    // files exactly 256 bytes, so a reader that gets 256 has seen all there is.
    if config.bytes_seen() == regs::EXTENDED_START {
        return Answer::Known(None);
    }
    let mut offset = regs::EXTENDED_START;
    for _ in 0..EXTENDED_LIMIT {
        let Some(header) = config.dword(offset) else {
            return Answer::CannotSee;
        };
        // All zeroes or all ones: no list here.
        if header == 0 || header == u32::MAX {
            return Answer::Known(None);
        }
        if header & regs::EXTENDED_ID_MASK == u32::from(id.0) {
            return Answer::Known(Some(offset));
        }
        let next = usize::try_from(header >> regs::EXTENDED_NEXT_SHIFT).unwrap_or_default();
        offset = next & regs::EXTENDED_POINTER_MASK;
        if offset < regs::EXTENDED_START {
            return Answer::Known(None);
        }
    }
    Answer::Known(None)
}

#[cfg(test)]
mod tests {
    use super::super::ConfigSpace;
    use super::*;

    fn space(len: usize, bytes: &[(usize, u8)]) -> ConfigSpace {
        let mut all = vec![0; len];
        for (at, byte) in bytes {
            all[*at] = *byte;
        }
        ConfigSpace::new(all)
    }

    #[test]
    fn a_ring_of_capabilities_ends() {
        let ring = space(
            256,
            &[
                (0x06, 0x10),
                (0x34, 0x40),
                (0x40, 5),
                (0x41, 0x50),
                (0x51, 0x40),
            ],
        );
        assert_eq!(
            ring.find_capability(StandardCapabilityId::PCI_EXPRESS),
            Answer::Known(None)
        );
        let ring = space(4096, &[(0x100, 1), (0x103, 0x10)]);
        assert_eq!(
            ring.find_extended_capability(ExtendedCapabilityId::ACS),
            Answer::Known(None)
        );
    }

    #[test]
    fn sixty_four_bytes_hide_the_lists() {
        let header = space(64, &[(0x06, 0x10), (0x34, 0x40)]);
        assert_eq!(
            header.find_capability(StandardCapabilityId::PCI_EXPRESS),
            Answer::CannotSee
        );
        assert_eq!(
            header.find_extended_capability(ExtendedCapabilityId::ACS),
            Answer::CannotSee
        );
    }

    #[test]
    fn a_whole_conventional_space_has_no_extended_list() {
        let whole = space(256, &[]);
        assert_eq!(
            whole.find_extended_capability(ExtendedCapabilityId::ACS),
            Answer::Known(None)
        );
    }

    #[test]
    fn no_bytes_and_no_walk_ever_panic() {
        for len in [0, 1, 7, 63, 64, 65, 255, 256, 257, 4095, 4096] {
            for fill in [0x00, 0x10, 0x40, 0xfc, 0xff] {
                let space = ConfigSpace::new(vec![fill; len]);
                let _ = space.find_capability(StandardCapabilityId::PCI_EXPRESS);
                let _ = space.find_extended_capability(ExtendedCapabilityId::ACS);
                let _ = space.facts();
            }
        }
    }
}
