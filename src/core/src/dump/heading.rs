//! The first line of a device: class, names, numbers.
//!
//! lspci prints it in three ways: `Host bridge: Intel Corporation Device 4641 (rev 02)`, with `-n`
//! `0600: 8086:4641 (rev 02)`, with `-nn` both.

use crate::pci::ClassCode;

use super::{AMD, INTEL};

/// What the first line of a device says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Heading {
    /// Class and subclass.
    pub(super) class: Option<u16>,
    /// Programming interface.
    pub(super) interface: u8,
    /// Vendor ID.
    pub(super) vendor: Option<u16>,
    /// Device ID.
    pub(super) device: Option<u16>,
    /// Names of vendor and device, where there are no numbers.
    pub(super) name: Option<String>,
    /// Revision ID.
    pub(super) revision: u8,
}

/// Names that lspci prints for the classes that decide something, or that people look for.
const CLASSES: &[(&str, u16)] = &[
    ("SCSI storage controller", 0x0100),
    ("IDE interface", 0x0101),
    ("RAID bus controller", 0x0104),
    ("SATA controller", 0x0106),
    ("Serial Attached SCSI controller", 0x0107),
    ("Non-Volatile memory controller", 0x0108),
    ("Ethernet controller", 0x0200),
    ("Infiniband controller", 0x0207),
    ("Network controller", 0x0280),
    ("VGA compatible controller", 0x0300),
    ("3D controller", 0x0302),
    ("Display controller", 0x0380),
    ("Multimedia audio controller", 0x0401),
    ("Audio device", 0x0403),
    ("Multimedia controller", 0x0480),
    ("RAM memory", 0x0500),
    ("Host bridge", 0x0600),
    ("ISA bridge", 0x0601),
    ("EISA bridge", 0x0602),
    ("PCI bridge", 0x0604),
    ("CardBus bridge", 0x0607),
    ("InfiniBand to PCI host bridge", 0x060a),
    ("Bridge", 0x0680),
    ("Serial controller", 0x0700),
    ("Communication controller", 0x0780),
    ("PIC", 0x0800),
    ("IOMMU", 0x0806),
    ("System peripheral", 0x0880),
    ("USB controller", 0x0c03),
    ("SMBus", 0x0c05),
    ("Serial bus controller", 0x0c80),
    ("Encryption controller", 0x1080),
    ("Performance counters", 0x1101),
    ("Signal processing controller", 0x1180),
    ("Processing accelerators", 0x1200),
    ("Non-Essential Instrumentation", 0x1300),
];

/// Vendors whose number decides something in the kernel's tables, by the names lspci prints.
const VENDORS: &[(&str, u16)] = &[
    ("Intel Corporation", INTEL),
    ("Advanced Micro Devices, Inc. [AMD/ATI]", 0x1002),
    ("Advanced Micro Devices, Inc. [AMD]", AMD),
    ("Advanced Micro Devices [AMD]", AMD),
    ("NVIDIA Corporation", 0x10de),
];

impl Heading {
    /// Reads what stands behind the address.
    pub(super) fn parse(text: &str) -> Self {
        let mut this = Self {
            interface: number_after(text, "(prog-if ").unwrap_or_default(),
            revision: number_after(text, "(rev ").unwrap_or_default(),
            ..Self::default()
        };
        let text = text.strip_prefix("Class ").unwrap_or(text);
        // Where the name of a class has a colon, there is none behind which a space stands.
        let Some((class, rest)) = text.split_once(": ").or_else(|| text.split_once(':')) else {
            return this;
        };
        let name = rest
            .split(" (rev ")
            .next()
            .and_then(|name| name.split(" (prog-if ").next())
            .unwrap_or_default()
            .trim();
        let class = class.trim();
        this.class = hex4(class)
            .or_else(|| bracketed(class).and_then(hex4))
            .or_else(|| find(CLASSES, class));
        let ids = bracketed(name).and_then(pair).or_else(|| pair(name));
        match ids {
            Some((vendor, device)) => (this.vendor, this.device) = (Some(vendor), Some(device)),
            None => {
                this.vendor = VENDORS
                    .iter()
                    .find(|(vendor, _)| name.starts_with(vendor))
                    .map(|(_, number)| *number);
                // What has no name is printed as a number.
                this.device = name
                    .rsplit_once("Device ")
                    .and_then(|(_, number)| hex4(number));
                this.name = Some(name.to_owned()).filter(|name| !name.is_empty());
            }
        }
        this
    }

    /// The class code; what has no known class is "unassigned".
    pub(super) fn class_code(&self) -> Option<ClassCode> {
        let class = u32::from(self.class?);
        ClassCode::new(class << 8 | u32::from(self.interface))
    }
}

/// Whether a line that follows a heading is the rest of it.
pub(super) fn is_continuation(text: &str) -> bool {
    let is_key = text
        .split_once(':')
        .is_some_and(|(key, _)| matches!(key, "Subsystem" | "DeviceName" | "Physical Slot"));
    let has_numbers = text.contains("(rev ")
        || text.contains("(prog-if ")
        || bracketed(text).and_then(pair).is_some();
    has_numbers && !is_key
}

/// `1028:0af3` out of `Subsystem: Dell Device [1028:0af3]` or `Subsystem: 1028:0af3`.
pub(super) fn subsystem(text: &str) -> Option<(u16, u16)> {
    bracketed(text).and_then(pair).or_else(|| pair(text.trim()))
}

fn find(names: &[(&str, u16)], wanted: &str) -> Option<u16> {
    let mut all = names.iter();
    all.find(|(name, _)| *name == wanted)
        .map(|(_, number)| *number)
}

/// What stands in the last brackets.
fn bracketed(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once('[')?;
    rest.split_once(']').map(|(inner, _)| inner)
}

fn pair(text: &str) -> Option<(u16, u16)> {
    let (vendor, device) = text.split_once(':')?;
    Some((hex4(vendor)?, hex4(device)?))
}

/// Exactly four hexadecimal digits.
pub(super) fn hex4(text: &str) -> Option<u16> {
    let is_number = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number
        .then(|| u16::from_str_radix(text, 16).ok())
        .flatten()
}

fn number_after(text: &str, mark: &str) -> Option<u8> {
    let (_, rest) = text.split_once(mark)?;
    u8::from_str_radix(rest.get(..2)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_both_are_read() {
        let numbers = Heading::parse("0300: 10de:2684 (rev a1) (prog-if 01)");
        assert_eq!(
            numbers,
            Heading {
                class: Some(0x0300),
                interface: 1,
                vendor: Some(0x10de),
                device: Some(0x2684),
                name: None,
                revision: 0xa1,
            }
        );
        let both = Heading::parse(
            "VGA compatible controller [0300]: NVIDIA Corporation AD102 [GeForce RTX 4090] \
             [10de:2684] (rev a1) (prog-if 01 [VGA controller])",
        );
        assert_eq!(both, numbers);
        let names = Heading::parse(
            "VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)",
        );
        assert_eq!(names.class, Some(0x0300));
        assert_eq!((names.vendor, names.device), (Some(0x10de), None));
        assert_eq!(
            names.name.as_deref(),
            Some("NVIDIA Corporation AD102 [GeForce RTX 4090]")
        );
    }

    #[test]
    fn a_device_without_a_name_is_printed_as_its_number() {
        let heading = Heading::parse("PCI bridge: Advanced Micro Devices, Inc. [AMD] Device 14b8");
        assert_eq!(
            (heading.vendor, heading.device),
            (Some(0x1022), Some(0x14b8))
        );
    }

    #[test]
    fn a_subsystem_is_no_rest_of_a_heading() {
        assert!(is_continuation("PCIe Root Complex (rev 01)"));
        assert!(is_continuation("Family 17h [1022:14b8]"));
        assert!(!is_continuation("Subsystem: Dell Device [1028:0af3]"));
        assert!(!is_continuation("Flags: fast devsel"));
    }
}
