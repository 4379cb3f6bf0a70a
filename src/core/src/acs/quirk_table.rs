//! The kernel's table of devices whose isolation is not what their registers say, as data.
//!
//! Facts: `drivers/pci/quirks.c`, `pci_dev_acs_enabled[]` of Linux 6.1.192 and 6.12.117 (the two
//! are equal), taken on [`TABLE_DATE`]. Stable kernels get additions, so another kernel's table can
//! be newer or older; a difference from the kernel's own groups may mean just that.

use super::quirk::{Quirk, Rule};

/// The day on which the table was read out of the kernel's source.
pub const TABLE_DATE: &str = "2026-11-22";

/// Device IDs, first and last of each range.
pub(super) type Ranges = &'static [(u16, u16)];

const ANY_DEVICE: [(u16, u16); 1] = [(0, 0xffff)];

/// In the kernel's order: the first entry that has an opinion is the answer.
pub(super) const QUIRKS: &[Quirk] = &[
    Quirk {
        vendor: 0x1002,
        devices: &[(0x4383, 0x4385), (0x4399, 0x4399), (0x439c, 0x439d)],
        rule: Rule::AmdSouthBridge,
    },
    Quirk {
        vendor: 0x1022,
        devices: &[(0x7809, 0x7809), (0x780f, 0x780f)],
        rule: Rule::AmdSouthBridge,
    },
    Quirk {
        vendor: 0x1924,
        devices: &[(0x0903, 0x0903), (0x0923, 0x0923), (0x0a03, 0x0a03)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x8086,
        devices: &[
            (0x105e, 0x1060),
            (0x10a7, 0x10a7),
            (0x10a9, 0x10a9),
            (0x10c6, 0x10c6),
            (0x10c9, 0x10c9),
            (0x10d6, 0x10d6),
            (0x10d9, 0x10d9),
            (0x10db, 0x10db),
            (0x10dd, 0x10dd),
            (0x10e1, 0x10e1),
            (0x10e6, 0x10e8),
            (0x10f1, 0x10f1),
            (0x10f7, 0x10fc),
            (0x1507, 0x1507),
            (0x1509, 0x150a),
            (0x150d, 0x1511),
            (0x1514, 0x1514),
            (0x1516, 0x1516),
            (0x1518, 0x1518),
            (0x151c, 0x151c),
            (0x1521, 0x1524),
            (0x1526, 0x1527),
            (0x1529, 0x152a),
            (0x154d, 0x154d),
            (0x154f, 0x154f),
            (0x1551, 0x1551),
            (0x1558, 0x1558),
            (0x15b7, 0x15b8),
        ],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x8086,
        devices: &ANY_DEVICE,
        rule: Rule::RootComplexEndpoint,
    },
    Quirk {
        vendor: 0x17cb,
        devices: &[
            (0x0111, 0x0111),
            (0x0115, 0x0115),
            (0x0120, 0x0120),
            (0x0400, 0x0401),
        ],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x1dbf,
        devices: &[(0x0401, 0x0401)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x8086,
        devices: &ANY_DEVICE,
        rule: Rule::IntelPch,
    },
    Quirk {
        vendor: 0x8086,
        devices: &ANY_DEVICE,
        rule: Rule::IntelSunrisePoint,
    },
    Quirk {
        vendor: 0x19a2,
        devices: &[(0x0710, 0x0710)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x10df,
        devices: &[(0x0720, 0x0720)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x177d,
        devices: &ANY_DEVICE,
        rule: Rule::CaviumRootPort,
    },
    Quirk {
        vendor: 0x177d,
        devices: &[(0xa026, 0xa026), (0xa059, 0xa059), (0xa060, 0xa060)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x10e8,
        devices: &[(0xe004, 0xe004)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x1def,
        devices: &[(0xe005, 0xe00c)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x14e4,
        devices: &[(0x16d7, 0x16d7), (0x1750, 0x1752), (0x1760, 0x1763)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x14e4,
        devices: &[(0xd714, 0xd714)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x0014,
        devices: &[
            (0x3c09, 0x3c09),
            (0x3c19, 0x3c19),
            (0x3c29, 0x3c29),
            (0x7a09, 0x7a09),
            (0x7a19, 0x7a19),
            (0x7a29, 0x7a29),
            (0x7a39, 0x7a39),
            (0x7a49, 0x7a49),
            (0x7a59, 0x7a59),
            (0x7a69, 0x7a69),
        ],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x1c36,
        devices: &[(0x0031, 0x0031)],
        rule: Rule::RootPort,
    },
    Quirk {
        vendor: 0x1d17,
        devices: &[(0x3038, 0x3038), (0x3104, 0x3104), (0x9083, 0x9083)],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x1957,
        devices: &[
            (0x8d80, 0x8d83),
            (0x8d88, 0x8d8b),
            (0x8d90, 0x8d93),
            (0x8d98, 0x8d9b),
            (0x8da0, 0x8da1),
            (0x8da8, 0x8da9),
            (0x8db0, 0x8db1),
            (0x8db8, 0x8db9),
        ],
        rule: Rule::Always,
    },
    Quirk {
        vendor: 0x1d17,
        devices: &ANY_DEVICE,
        rule: Rule::ZhaoxinPort,
    },
    Quirk {
        vendor: 0x8088,
        devices: &ANY_DEVICE,
        rule: Rule::Wangxun,
    },
];

/// Root ports of Intel chipsets without an ACS capability (`pci_quirk_intel_pch_acs_ids`).
pub(super) const INTEL_PCH: Ranges = &[
    (0x1c10, 0x1c1f),
    (0x1d10, 0x1d10),
    (0x1d12, 0x1d12),
    (0x1d14, 0x1d14),
    (0x1d16, 0x1d16),
    (0x1d18, 0x1d18),
    (0x1d1a, 0x1d1a),
    (0x1d1c, 0x1d1c),
    (0x1d1e, 0x1d1e),
    (0x1e10, 0x1e1f),
    (0x3b42, 0x3b51),
    (0x8c10, 0x8c1f),
    (0x8c90, 0x8c90),
    (0x8c92, 0x8c92),
    (0x8c94, 0x8c94),
    (0x8c96, 0x8c96),
    (0x8c98, 0x8c98),
    (0x8c9a, 0x8c9a),
    (0x8c9c, 0x8c9c),
    (0x8c9e, 0x8c9e),
    (0x8d10, 0x8d1e),
    (0x9c10, 0x9c1b),
    (0x9c90, 0x9c9b),
];
/// Root ports of Intel chipsets whose ACS registers are double words
/// (`pci_quirk_intel_spt_pch_acs_match`).
pub(super) const INTEL_SUNRISE_POINT: Ranges = &[
    (0xa110, 0xa11f),
    (0xa167, 0xa16a),
    (0xa290, 0xa29f),
    (0xa2e7, 0xa2ee),
    (0x9d10, 0x9d1b),
];
/// Root ports of Cavium (`pci_quirk_cavium_acs_match`).
pub(super) const CAVIUM: Ranges = &[(0xa000, 0xa7ff), (0xaf84, 0xaf84), (0xb884, 0xb884)];
/// Ports of Zhaoxin that isolate (`pci_quirk_zhaoxin_pcie_ports_acs`).
pub(super) const ZHAOXIN: Ranges = &[(0x0710, 0x071e), (0x0721, 0x0721), (0x0723, 0x0752)];
/// Network cards of Wangxun that isolate (`pci_quirk_wangxun_nic_acs`).
pub(super) const WANGXUN: Ranges = &[
    (0x0100, 0x010f),
    (0x1001, 0x1001),
    (0x2001, 0x2001),
    (0x5010, 0x5010),
    (0x5025, 0x5025),
    (0x5040, 0x5040),
    (0x5110, 0x5110),
    (0x5125, 0x5125),
    (0x5140, 0x5140),
];
