//! Registers and bits, each named once, with its section of PCI Express Base 6.0.

/// Vendor ID (7.5.1.1.1).
pub const VENDOR_ID: usize = 0x00;
/// Device ID (7.5.1.1.2).
pub const DEVICE_ID: usize = 0x02;
/// Status (7.5.1.1.4).
pub const STATUS: usize = 0x06;
/// Status: a capabilities list is present (7.5.1.1.4, bit 4).
pub const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Header Type (7.5.1.1.9).
pub const HEADER_TYPE: usize = 0x0e;
/// Header Type: layout (bits 6:0).
pub const HEADER_TYPE_LAYOUT: u8 = 0x7f;
/// Header Type: the device has more than one function (bit 7).
pub const HEADER_TYPE_MULTIFUNCTION: u8 = 0x80;
/// Capabilities Pointer of header types 0 and 1 (7.5.1.1.11).
pub const CAPABILITIES_POINTER: usize = 0x34;
/// Capabilities Pointer of a CardBus bridge (PC Card standard).
pub const CARDBUS_CAPABILITIES_POINTER: usize = 0x14;
/// The low two bits of every capability pointer are reserved (7.5.1.1.11).
pub const CAPABILITY_POINTER_MASK: u8 = 0xfc;

/// Secondary Bus Number of a bridge (7.5.1.3.3).
pub const SECONDARY_BUS: usize = 0x19;
/// Subordinate Bus Number of a bridge (7.5.1.3.4).
pub const SUBORDINATE_BUS: usize = 0x1a;

/// PCI Express Capabilities Register, from the start of its capability (7.5.3.2).
pub const PCIE_FLAGS: usize = 0x02;
/// PCI Express Capabilities Register: device/port type (bits 7:4).
pub const PCIE_FLAGS_TYPE_SHIFT: u16 = 4;
/// PCI Express Capabilities Register: width of the device/port type.
pub const PCIE_FLAGS_TYPE_MASK: u16 = 0xf;

/// Where extended capabilities begin (7.6.3).
pub const EXTENDED_START: usize = 0x100;
/// Extended capability header: ID (bits 15:0).
pub const EXTENDED_ID_MASK: u32 = 0xffff;
/// Extended capability header: next pointer (bits 31:20).
pub const EXTENDED_NEXT_SHIFT: u32 = 20;
/// Extended capability pointers are dword aligned (7.6.3).
pub const EXTENDED_POINTER_MASK: usize = 0xffc;

/// ACS Capability Register, from the start of its capability (7.7.11.2).
pub const ACS_CAPABILITY: usize = 0x04;
/// ACS Control Register, from the start of its capability (7.7.11.3).
pub const ACS_CONTROL: usize = 0x06;
/// The control register where both are double words: Intel's 100 and 200 series chipsets
/// (`drivers/pci/quirks.c`, `INTEL_SPT_ACS_CTRL`).
pub const ACS_WIDE_CONTROL: usize = 0x08;
