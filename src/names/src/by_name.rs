//! Numbers for names: lspci prints names alone unless it is told otherwise.

use std::collections::HashMap;
use std::sync::OnceLock;

use vfioctl_core::dump::NameTable;

use super::Names;

/// Vendors by name; few have the same one.
type Vendors = HashMap<&'static str, Vec<&'static pci_ids::Vendor>>;

impl NameTable for Names {
    /// Finds the vendor whose name the text begins with, and among its devices the rest. Of names
    /// that several devices have, the first is as good as any.
    fn ids(&self, name: &str) -> Option<(u16, u16)> {
        let vendors = vendors();
        // The longest name first: one vendor's can be the beginning of another's.
        let ends = name.rmatch_indices(' ').map(|(at, _)| at);
        for end in ends {
            let (vendor, device) = name.split_at_checked(end)?;
            let device = device.trim_start();
            for vendor in vendors.get(vendor).into_iter().flatten() {
                let numbered = device.strip_prefix("Device ").and_then(hex4);
                let named = || {
                    let mut devices = vendor.devices();
                    devices.find(|each| each.name() == device)
                };
                if let Some(device) = numbered.or_else(|| named().map(pci_ids::Device::id)) {
                    return Some((vendor.id(), device));
                }
            }
        }
        // The vendor alone still decides something in the kernel's tables.
        name.rmatch_indices(' ')
            .find_map(|(at, _)| vendors.get(name.get(..at)?)?.first())
            .map(|vendor| (vendor.id(), 0))
    }
}

fn hex4(text: &str) -> Option<u16> {
    let is_number = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number
        .then(|| u16::from_str_radix(text, 16).ok())
        .flatten()
}

fn vendors() -> &'static Vendors {
    static VENDORS: OnceLock<Vendors> = OnceLock::new();
    VENDORS.get_or_init(|| {
        let mut vendors = Vendors::new();
        for vendor in pci_ids::Vendors::iter() {
            vendors.entry(vendor.name()).or_default().push(vendor);
        }
        vendors
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_lspci_prints_them_have_numbers() {
        let ids = |name| Names::default().ids(name);
        assert_eq!(
            ids("NVIDIA Corporation AD102 [GeForce RTX 4090]"),
            Some((0x10de, 0x2684))
        );
        assert_eq!(
            ids("Advanced Micro Devices, Inc. [AMD] Device 14b8"),
            Some((0x1022, 0x14b8))
        );
        assert_eq!(
            ids("Intel Corporation Something That Never Was"),
            Some((0x8086, 0))
        );
        assert_eq!(ids("Nobody"), None);
    }
}
