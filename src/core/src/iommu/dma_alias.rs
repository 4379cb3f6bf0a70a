//! Devices that send requests under the number of another function.
//!
//! Facts: `drivers/pci/quirks.c`, the users of `pci_add_dma_alias` in Linux 6.1.192 and 6.12.117.
//! Invisible from user space, as the isolation quirks are. Aliases that are read from a device at
//! run time (Switchtec's non-transparent bridges) or from ACPI (`IVRS`) are not here.

use crate::pci::{Identity, PciAddress};

/// Under which other functions of its bus a device sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DmaAlias {
    /// As function 0 of its slot (`quirk_dma_func0_alias`).
    Function0,
    /// As function 1 of its slot (`quirk_dma_func1_alias`).
    Function1,
    /// As 01.0 of its bus (`quirk_fixed_dma_alias`).
    Fixed,
    /// As 10.0, 11.0 and 12.3 of its bus (`quirk_mic_x200_dma_alias`).
    MicX200,
    /// As the functions 0 to 4 of every slot (`quirk_pex_vca_alias`).
    PexVca,
    /// As every function of its bus (`quirk_plx_ntb_dma_alias`).
    WholeBus,
}

const FUNCTION_0: [(u16, u16); 4] = [
    (0x1180, 0xe832),
    (0x1180, 0xe476),
    (0x6766, 0x3d40),
    (0x6766, 0x3d41),
];

const FUNCTION_1: [(u16, u16); 19] = [
    (0x1b4b, 0x9120),
    (0x1b4b, 0x9123),
    (0x1b4b, 0x9125),
    (0x1b4b, 0x9128),
    (0x1b4b, 0x9130),
    (0x1b4b, 0x9170),
    (0x1b4b, 0x9172),
    (0x1b4b, 0x917a),
    (0x1b4b, 0x9182),
    (0x1b4b, 0x9183),
    (0x1b4b, 0x91a0),
    (0x1b4b, 0x9215),
    (0x1b4b, 0x9220),
    (0x1b4b, 0x9230),
    (0x1b4b, 0x9235),
    (0x1103, 0x0642),
    (0x1103, 0x0645),
    (0x197b, 0x2392),
    (0x1c28, 0x0122),
];

/// Bridges above which requests do not climb: the IOMMU sits right there
/// (`quirk_bridge_cavm_thrx2_pcie_root`).
const TRANSLATION_ROOTS: [(u16, u16); 2] = [(0x14e4, 0x9000), (0x14e4, 0x9084)];

impl DmaAlias {
    /// Looks a device up.
    pub(super) fn of(identity: Identity) -> Option<Self> {
        let id = (identity.vendor, identity.device);
        let subsystem = (identity.subsystem_vendor, identity.subsystem_device);
        match id {
            _ if FUNCTION_0.contains(&id) => Some(Self::Function0),
            _ if FUNCTION_1.contains(&id) => Some(Self::Function1),
            (0x9005, 0x0285) if matches!(subsystem, (0x9005, 0x02bb | 0x02bc)) => Some(Self::Fixed),
            (0x8086, 0x2260 | 0x2264) => Some(Self::MicX200),
            (0x8086, 0x2954 | 0x2955 | 0x2956 | 0x2958 | 0x2959 | 0x295a) => Some(Self::PexVca),
            (0x10b5, 0x87b0 | 0x87b1) => Some(Self::WholeBus),
            _ => None,
        }
    }

    /// Whether the device at `own` also sends as `other`, which is on the same bus.
    pub(super) fn sends_as(self, own: PciAddress, other: PciAddress) -> bool {
        let (slot, function) = (other.device(), other.function());
        match self {
            Self::Function0 => own.is_same_slot(other) && function == 0,
            Self::Function1 => own.is_same_slot(other) && function == 1,
            Self::Fixed => (slot, function) == (1, 0),
            Self::MicX200 => matches!((slot, function), (0x10 | 0x11, 0) | (0x12, 3)),
            Self::PexVca => function <= 4,
            Self::WholeBus => true,
        }
    }
}

/// Whether the IOMMU sits below a bridge, so that requests do not climb through it.
pub(super) fn is_translation_root(identity: Identity) -> bool {
    TRANSLATION_ROOTS.contains(&(identity.vendor, identity.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends(vendor: u16, device: u16, own: &str, other: &str) -> bool {
        let identity = Identity {
            vendor,
            device,
            subsystem_vendor: 0,
            subsystem_device: 0,
        };
        let (own, other) = (own.parse().unwrap(), other.parse().unwrap());
        DmaAlias::of(identity).is_some_and(|alias| alias.sends_as(own, other))
    }

    #[test]
    fn a_marvell_controller_sends_as_function_1_of_its_slot() {
        assert!(sends(0x1b4b, 0x9230, "01:00.0", "01:00.1"));
        assert!(!sends(0x1b4b, 0x9230, "01:00.0", "01:00.2"));
        assert!(!sends(0x1b4b, 0x9230, "01:00.0", "01:01.1"));
        assert!(!sends(0x1b4b, 0x0001, "01:00.0", "01:00.1"));
        assert!(sends(0x1180, 0xe832, "01:00.3", "01:00.0"));
    }

    #[test]
    fn other_kinds_reach_over_the_bus() {
        assert!(sends(0x10b5, 0x87b0, "01:00.0", "01:1f.7"));
        assert!(sends(0x8086, 0x2260, "01:00.0", "01:12.3"));
        assert!(!sends(0x8086, 0x2260, "01:00.0", "01:12.0"));
        assert!(sends(0x8086, 0x2954, "01:00.0", "01:03.4"));
        assert!(!sends(0x8086, 0x2954, "01:00.0", "01:03.5"));
    }
}
