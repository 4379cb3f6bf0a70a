//! Config space made of facts: where this user is shown the header only, and the helper told the
//! rest. Enough for a prediction, and no more.

use crate::Answer;
use crate::acs::has_wide_registers;
use crate::config::{ExtendedCapabilityId, HeaderType, StandardCapabilityId, regs};
use crate::pci::PciFunction;

const HEADER: usize = 0x40;
const WHOLE_CONVENTIONAL: usize = 256;
const WHOLE_EXPRESS: usize = 4096;

/// The header as it was read, and the capabilities that the function is known to have; `None`
/// where these are not known, or the header is cut.
pub fn synthesized(header: &[u8], function: &PciFunction) -> Option<Vec<u8>> {
    let Answer::Known(pcie_type) = function.pcie_type else {
        return None;
    };
    let mut space = Space(header.get(..HEADER)?.to_vec());
    let status = space.0.get(regs::STATUS).copied()?;
    let [list_bit, _] = regs::STATUS_CAPABILITIES.to_le_bytes();
    let Some(kind) = pcie_type else {
        space.0.resize(WHOLE_CONVENTIONAL, 0);
        space.put(regs::STATUS, &[status & !list_bit]);
        return Some(space.0);
    };
    let Answer::Known(acs) = function.acs else {
        return None;
    };
    space.0.resize(WHOLE_EXPRESS, 0);
    let pointer = match function.header_type {
        Answer::Known(HeaderType::CardBus) => regs::CARDBUS_CAPABILITIES_POINTER,
        _ => regs::CAPABILITIES_POINTER,
    };
    space.put(regs::STATUS, &[status | list_bit]);
    space.put(pointer, &[0x40]);
    let flags = u16::from(kind.bits()) << regs::PCIE_FLAGS_TYPE_SHIFT | 2;
    space.put(HEADER, &[StandardCapabilityId::PCI_EXPRESS.0, 0]);
    space.put(HEADER + regs::PCIE_FLAGS, &flags.to_le_bytes());
    if let Some(acs) = acs {
        let at = regs::EXTENDED_START;
        let identity = function.identity;
        let control_at = if has_wide_registers(identity.vendor, identity.device) {
            regs::ACS_WIDE_CONTROL
        } else {
            regs::ACS_CONTROL
        };
        space.put(at, &ExtendedCapabilityId::ACS.0.to_le_bytes());
        space.put(at + 2, &[1, 0]);
        space.put(at + regs::ACS_CAPABILITY, &acs.capability().to_le_bytes());
        space.put(at + control_at, &acs.control().to_le_bytes());
    }
    Some(space.0)
}

struct Space(Vec<u8>);

impl Space {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }
}
