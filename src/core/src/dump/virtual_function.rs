//! Virtual functions: where physical ones have them.
//!
//! PCI Express Base 6.0, section 9.3.3: the first is at the physical function's number plus First
//! VF Offset, the others each VF Stride further, over the bounds of buses.

use std::collections::BTreeMap;

use crate::Answer;
use crate::config::{ConfigSpace, ExtendedCapabilityId, ReadConfig as _, regs};
use crate::pci::{PciAddress, PciFunction, SriovRole};

use super::device::Device;
use super::text::SriovText;

/// Tells physical and virtual functions, and gives each virtual one its device ID.
pub(super) fn assign(
    functions: &mut BTreeMap<PciAddress, PciFunction>,
    devices: &BTreeMap<PciAddress, Device>,
) {
    let physical: Vec<(PciAddress, SriovText)> = devices
        .iter()
        .filter_map(|(address, device)| Some((*address, read(device)?)))
        .collect();
    for (address, sriov) in physical {
        let vendor = functions.get(&address).map(|own| own.identity.vendor);
        let mut virtual_functions = Vec::new();
        for number in 0..sriov.count {
            let Some(at) = place(address, sriov, number) else {
                break;
            };
            let Some(function) = functions.get_mut(&at).filter(|_| at != address) else {
                continue;
            };
            function.sriov = SriovRole::Virtual { physical: address };
            if function.identity.vendor == 0xffff
                && let (Some(vendor), Some(device)) = (vendor, sriov.device)
            {
                function.identity.vendor = vendor;
                function.identity.device = device;
            }
            virtual_functions.push(at);
        }
        if let Some(own) = functions.get_mut(&address)
            && own.sriov == SriovRole::None
        {
            own.sriov = SriovRole::Physical {
                virtual_functions,
                total: sriov.total,
            };
        }
    }
    // What answers as one and whose physical function the dump does not hold.
    for (address, device) in devices {
        if let Some(function) = functions.get_mut(address)
            && device.is_virtual_by_bytes()
            && function.sriov == SriovRole::None
        {
            function.sriov = SriovRole::Virtual { physical: *address };
        }
    }
}

fn read(device: &Device) -> Option<SriovText> {
    if device.is_virtual_by_bytes() {
        return None;
    }
    let config = ConfigSpace::new(device.bytes.clone());
    match config.find_extended_capability(ExtendedCapabilityId::SRIOV) {
        Answer::Known(Some(at)) => Some(SriovText {
            total: config.word(at + regs::SRIOV_TOTAL_VFS)?,
            count: config.word(at + regs::SRIOV_NUM_VFS)?,
            offset: config.word(at + regs::SRIOV_FIRST_VF_OFFSET)?,
            stride: config.word(at + regs::SRIOV_VF_STRIDE)?,
            device: config.word(at + regs::SRIOV_VF_DEVICE_ID),
        }),
        Answer::Known(None) => None,
        Answer::CannotSee => device.text.sriov,
    }
}

/// Where a virtual function is, by its number from 0.
fn place(physical: PciAddress, sriov: SriovText, number: u16) -> Option<PciAddress> {
    let devfn = u32::from(physical.device()) << 3 | u32::from(physical.function());
    let own = u32::from(physical.bus()) << 8 | devfn;
    let at = own + u32::from(sriov.offset) + u32::from(sriov.stride) * u32::from(number);
    let byte = |shift: u32, mask: u32| u8::try_from(at >> shift & mask).ok();
    let bus = u8::try_from(at >> 8).ok()?;
    PciAddress::new(physical.domain(), bus, byte(3, 0x1f)?, byte(0, 7)?).ok()
}
