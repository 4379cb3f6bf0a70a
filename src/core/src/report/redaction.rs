//! Config space without what could tell one card from another of its kind.
//!
//! An allow-list: the header, the structure of both capability lists, and of the capabilities named
//! here the registers that the standard defines. Device Serial Number, Vital Product Data,
//! vendor-specific capabilities, logs of packets and everything between capabilities read as zero.

use crate::Answer;
use crate::acs::has_wide_registers;
use crate::config::{ConfigSpace, HeaderType, ReadConfig as _, regs};

const HEADER: usize = 0x40;

/// Config space as a report may have it; as long as it was.
pub fn redacted(config: &ConfigSpace) -> Vec<u8> {
    let mut kept = Kept {
        config,
        bytes: vec![0; config.bytes_seen()],
    };
    kept.keep(0, HEADER);
    let capabilities = [standard(config), extended(config)].concat();
    let mut starts: Vec<usize> = capabilities.iter().map(|each| each.at).collect();
    starts.sort_unstable();
    for capability in &capabilities {
        // Never into the next one, whatever this one says about its length.
        let next = starts.iter().find(|start| **start > capability.at);
        let room = next.map_or(usize::MAX, |next| next - capability.at);
        kept.keep(capability.at, capability.length.min(room));
    }
    let is_lpc = config.word(regs::VENDOR_ID) == Some(0x8086)
        && config.dword(regs::REVISION).map(|word| word >> 16) == Some(0x0601);
    if is_lpc {
        kept.keep(regs::INTEL_LPC_RCBA, 4);
    }
    kept.bytes
}

struct Kept<'a> {
    config: &'a ConfigSpace,
    bytes: Vec<u8>,
}

impl Kept<'_> {
    fn keep(&mut self, at: usize, length: usize) {
        for offset in at..at.saturating_add(length).min(self.bytes.len()) {
            if let (Some(place), Some(byte)) =
                (self.bytes.get_mut(offset), self.config.byte(offset))
            {
                *place = byte;
            }
        }
    }
}

/// A capability, and how much of it is kept.
#[derive(Debug, Clone, Copy)]
struct Capability {
    at: usize,
    length: usize,
}

fn standard(config: &ConfigSpace) -> Vec<Capability> {
    let has_list = config
        .word(regs::STATUS)
        .is_some_and(|status| status & regs::STATUS_CAPABILITIES != 0);
    let pointer = match config.header_type() {
        Answer::Known(HeaderType::CardBus) => regs::CARDBUS_CAPABILITIES_POINTER,
        _ => regs::CAPABILITIES_POINTER,
    };
    let mut found = Vec::new();
    let mut next = config.byte(pointer).filter(|_| has_list);
    // As many as fit; a ring ends here too.
    for _ in 0..48 {
        let Some(at) = next.map(|next| usize::from(next & regs::CAPABILITY_POINTER_MASK)) else {
            break;
        };
        let Some(id) = config.byte(at).filter(|_| at >= HEADER) else {
            break;
        };
        found.push(Capability {
            at,
            length: standard_length(config, at, id),
        });
        next = config.byte(at + 1);
    }
    found
}

/// Registers of a capability in the first 256 bytes; its head alone where it is not listed.
fn standard_length(config: &ConfigSpace, at: usize, id: u8) -> usize {
    let flags = config.word(at + 2).unwrap_or_default();
    match id {
        // Power management (7.5.2).
        0x01 => 8,
        // MSI (7.7.1): bit 7 a wide address, bit 8 masks.
        0x05 => match (flags & 1 << 7 != 0, flags & 1 << 8 != 0) {
            (false, false) => 10,
            (true, false) => 14,
            (false, true) => 20,
            (true, true) => 24,
        },
        // PCI-X, subsystem of a bridge.
        0x07 | 0x0d => 8,
        // PCI Express (7.5.3), version 2 and before.
        0x10 if flags & 0xf >= 2 => 0x3c,
        0x10 => 0x14,
        // MSI-X (7.7.2).
        0x11 => 12,
        // Advanced features of conventional PCI.
        0x13 => 6,
        _ => 2,
    }
}

fn extended(config: &ConfigSpace) -> Vec<Capability> {
    let mut found = Vec::new();
    let mut at = regs::EXTENDED_START;
    for _ in 0..480 {
        let Some(header) = config
            .dword(at)
            .filter(|word| *word != 0 && *word != u32::MAX)
        else {
            break;
        };
        found.push(Capability {
            at,
            length: extended_length(config, at, header & regs::EXTENDED_ID_MASK),
        });
        let next = usize::try_from(header >> regs::EXTENDED_NEXT_SHIFT).unwrap_or_default();
        at = next & regs::EXTENDED_POINTER_MASK;
        if at < regs::EXTENDED_START {
            break;
        }
    }
    found
}

/// Registers of an extended capability; its head alone where it is not listed.
fn extended_length(config: &ConfigSpace, at: usize, id: u32) -> usize {
    match id {
        // Error reporting, up to the log of packets (7.8.4).
        0x0001 => 0x1c,
        // ACS (7.7.11); double words on some chipsets.
        0x000d => match (config.word(regs::VENDOR_ID), config.word(regs::DEVICE_ID)) {
            (Some(vendor), Some(device)) if has_wide_registers(vendor, device) => 12,
            _ => 8,
        },
        // ARI (7.8.8), ATS (10.5.1), LTR (7.8.2), PASID (7.8.9).
        0x000e | 0x000f | 0x0018 | 0x001b => 8,
        // SR-IOV (9.3.3).
        0x0010 => 0x40,
        // Page requests (10.5.2), L1 PM substates (7.8.3).
        0x0013 | 0x001e => 0x10,
        // Resizable BAR (7.8.6): bits 7:5 of the first control register count them.
        0x0015 => {
            let control = config.dword(at + 8).unwrap_or_default();
            4 + 8 * usize::try_from(control >> 5 & 7).unwrap_or_default()
        }
        // Port containment up to its logs (7.9.14), precision time (7.9.15), link features.
        0x0019 | 0x001d | 0x001f | 0x0025 => 0x0c,
        _ => 4,
    }
}
