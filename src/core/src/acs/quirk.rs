//! Devices whose isolation Linux does not take from their registers.
//!
//! Kernel: `drivers/pci/quirks.c`, `pci_dev_specific_acs_enabled`: the table is walked in order,
//! the first entry with an opinion wins, and it beats the capability both ways. Nothing of it can
//! be seen from user space.

use crate::Answer;
use crate::config::PcieType;

use super::Acs;
use super::quirk_table::{
    CAVIUM, INTEL_PCH, INTEL_SUNRISE_POINT, QUIRKS, Ranges, WANGXUN, ZHAOXIN,
};

/// One entry of the table.
#[derive(Debug)]
pub(super) struct Quirk {
    pub(super) vendor: u16,
    pub(super) devices: Ranges,
    pub(super) rule: Rule,
}

/// How an entry comes to its opinion; each is a function of `drivers/pci/quirks.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Vendors that vouch for their device: `pci_quirk_mf_endpoint_acs` and the root ports of
    /// Qualcomm, NXP, Ampere, Broadcom and Loongson.
    Always,
    /// `pci_quirk_amd_sb_acs`: functions of an AMD south bridge, where an AMD IOMMU is there.
    AmdSouthBridge,
    /// `pci_quirk_rciep_acs`: Intel's endpoints in the root complex.
    RootComplexEndpoint,
    /// `pci_quirk_al_acs`: root ports of Annapurna Labs.
    RootPort,
    /// `pci_quirk_cavium_acs`.
    CaviumRootPort,
    /// `pci_quirk_intel_pch_acs`: chipset root ports that isolate by registers of their own.
    IntelPch,
    /// `pci_quirk_intel_spt_pch_acs`: ACS registers that are double words.
    IntelSunrisePoint,
    /// `pci_quirk_zhaoxin_pcie_ports_acs`: says no to every other port of Zhaoxin.
    ZhaoxinPort,
    /// `pci_quirk_wangxun_nic_acs`: says no to every other device of Wangxun.
    Wangxun,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub(super) vendor: u16,
    pub(super) device: u16,
    pub(super) pcie_type: Answer<Option<PcieType>>,
    pub(super) acs: Answer<Option<Acs>>,
    pub(super) is_multifunction: bool,
    pub(super) is_on_root_bus: bool,
    pub(super) has_ivrs: bool,
    pub(super) has_pch_workaround: bool,
}

/// The opinion of the table: whether the device isolates, and which rule says so.
pub(super) fn find_opinion(subject: &Subject) -> Answer<Option<(bool, Rule)>> {
    for quirk in QUIRKS {
        if quirk.vendor != subject.vendor || !holds(quirk.devices, subject.device) {
            continue;
        }
        match quirk.rule.opinion(subject) {
            Answer::Known(None) => {}
            Answer::Known(Some(opinion)) => return Answer::Known(Some((opinion, quirk.rule))),
            Answer::CannotSee => return Answer::CannotSee,
        }
    }
    Answer::Known(None)
}

/// Whether the ACS registers of a device are double words at 4 and 8, as on the root ports of
/// Intel's 100 and 200 series chipsets (`pci_quirk_intel_spt_pch_acs_match`).
pub(crate) fn has_wide_registers(vendor: u16, device: u16) -> bool {
    vendor == 0x8086 && holds(INTEL_SUNRISE_POINT, device)
}

fn holds(ranges: Ranges, device: u16) -> bool {
    ranges
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&device))
}

impl Rule {
    fn opinion(self, subject: &Subject) -> Answer<Option<bool>> {
        let device = subject.device;
        let is_type = |wanted: &[PcieType]| {
            subject
                .pcie_type
                .map(|found| found.is_some_and(|found| wanted.contains(&found)))
        };
        let root_port = || is_type(&[PcieType::RootPort]);
        match self {
            Self::Always => Answer::Known(Some(true)),
            Self::AmdSouthBridge => {
                let applies =
                    subject.is_multifunction && subject.is_on_root_bus && subject.has_ivrs;
                Answer::Known(applies.then_some(true))
            }
            Self::RootComplexEndpoint => {
                is_type(&[PcieType::RootComplexEndpoint]).map(|is| is.then_some(true))
            }
            Self::RootPort => root_port().map(|is| is.then_some(true)),
            Self::CaviumRootPort => {
                root_port().map(|is| (is && holds(CAVIUM, device)).then_some(true))
            }
            Self::IntelPch if !holds(INTEL_PCH, device) => Answer::Known(None),
            Self::IntelPch => root_port().map(|is| is.then_some(subject.has_pch_workaround)),
            Self::IntelSunrisePoint if !holds(INTEL_SUNRISE_POINT, device) => Answer::Known(None),
            Self::IntelSunrisePoint => match (root_port(), subject.acs) {
                (Answer::Known(true), Answer::Known(acs)) => {
                    Answer::Known(acs.map(Acs::is_isolating))
                }
                (Answer::Known(false), _) => Answer::Known(None),
                _ => Answer::CannotSee,
            },
            Self::ZhaoxinPort => is_type(&[PcieType::RootPort, PcieType::DownstreamPort])
                .map(|is| is.then_some(holds(ZHAOXIN, device))),
            Self::Wangxun => Answer::Known(Some(holds(WANGXUN, device))),
        }
    }

    /// What the rule rests on, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Always | Self::RootPort | Self::CaviumRootPort => {
                "its vendor vouches for it (the kernel's quirk table)"
            }
            Self::AmdSouthBridge => "it is part of an AMD south bridge behind an AMD IOMMU",
            Self::RootComplexEndpoint => "Intel vouches for its root complex endpoints",
            Self::IntelPch => "the kernel switches on the chipset's own isolation registers",
            Self::IntelSunrisePoint => "its ACS registers have the chipset's own layout",
            Self::ZhaoxinPort => "the kernel's quirk table judges ports of Zhaoxin by their ids",
            Self::Wangxun => "the kernel's quirk table judges cards of Wangxun by their ids",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(vendor: u16, device: u16, pcie_type: Option<PcieType>) -> Subject {
        Subject {
            vendor,
            device,
            pcie_type: Answer::Known(pcie_type),
            acs: Answer::Known(None),
            is_multifunction: true,
            is_on_root_bus: true,
            has_ivrs: true,
            has_pch_workaround: true,
        }
    }

    fn opinion(subject: &Subject) -> Option<(bool, Rule)> {
        find_opinion(subject).known().flatten()
    }

    #[test]
    fn vendors_that_vouch_are_believed_and_others_have_no_opinion() {
        let intel = subject(0x8086, 0x1521, Some(PcieType::Endpoint));
        assert_eq!(opinion(&intel), Some((true, Rule::Always)));
        let nvidia = subject(0x10de, 0x2684, Some(PcieType::Endpoint));
        assert_eq!(opinion(&nvidia), None);
    }

    #[test]
    fn an_intel_endpoint_of_the_root_complex_isolates_and_a_plain_one_has_no_opinion() {
        let integrated = subject(0x8086, 0xa0c8, Some(PcieType::RootComplexEndpoint));
        assert_eq!(
            opinion(&integrated),
            Some((true, Rule::RootComplexEndpoint))
        );
        assert_eq!(
            opinion(&subject(0x8086, 0xa0c8, Some(PcieType::Endpoint))),
            None
        );
        let mut hidden = integrated;
        hidden.pcie_type = Answer::CannotSee;
        assert_eq!(find_opinion(&hidden), Answer::CannotSee);
    }

    #[test]
    fn a_chipset_port_isolates_only_with_the_workaround_and_never_falls_through() {
        let mut port = subject(0x8086, 0x1c10, Some(PcieType::RootPort));
        assert_eq!(opinion(&port), Some((true, Rule::IntelPch)));
        port.has_pch_workaround = false;
        port.acs = Answer::Known(Some(Acs::new(0x1d, 0x1d)));
        assert_eq!(opinion(&port), Some((false, Rule::IntelPch)));
    }

    #[test]
    fn a_sunrise_point_port_is_judged_by_its_registers() {
        let mut port = subject(0x8086, 0xa110, Some(PcieType::RootPort));
        assert_eq!(opinion(&port), None, "without the capability");
        port.acs = Answer::Known(Some(Acs::new(0x0f, 0x0d)));
        assert_eq!(opinion(&port), Some((true, Rule::IntelSunrisePoint)));
        port.acs = Answer::Known(Some(Acs::new(0x0f, 0x01)));
        assert_eq!(opinion(&port), Some((false, Rule::IntelSunrisePoint)));
        assert!(has_wide_registers(0x8086, 0x9d1b));
        assert!(!has_wide_registers(0x8086, 0x9d1c));
        assert!(!has_wide_registers(0x10de, 0x9d1b));
    }

    #[test]
    fn an_amd_south_bridge_needs_its_iommu_its_bus_and_its_siblings() {
        let bridge = subject(0x1022, 0x780f, None);
        assert_eq!(opinion(&bridge), Some((true, Rule::AmdSouthBridge)));
        for change in [
            |s: &mut Subject| s.has_ivrs = false,
            |s: &mut Subject| s.is_on_root_bus = false,
            |s: &mut Subject| s.is_multifunction = false,
        ] {
            let mut without = bridge;
            change(&mut without);
            assert_eq!(opinion(&without), None);
        }
    }

    #[test]
    fn zhaoxin_and_wangxun_are_told_no_even_with_a_full_capability() {
        for (vendor, good, bad) in [(0x1d17, 0x0710, 0x0720), (0x8088, 0x1001, 0x1002)] {
            let mut port = subject(vendor, bad, Some(PcieType::RootPort));
            port.acs = Answer::Known(Some(Acs::new(0x1d, 0x1d)));
            assert_eq!(opinion(&port).map(|(isolates, _)| isolates), Some(false));
            port.device = good;
            assert_eq!(opinion(&port).map(|(isolates, _)| isolates), Some(true));
        }
        let endpoint = subject(0x1d17, 0x3038, Some(PcieType::Endpoint));
        assert_eq!(opinion(&endpoint), Some((true, Rule::Always)));
    }

    #[test]
    fn ports_of_annapurna_and_cavium_count_only_as_root_ports() {
        for (vendor, device) in [(0x1c36, 0x0031), (0x177d, 0xa0ff)] {
            assert!(opinion(&subject(vendor, device, Some(PcieType::RootPort))).is_some());
            assert_eq!(
                opinion(&subject(vendor, device, Some(PcieType::Endpoint))),
                None
            );
        }
        assert_eq!(
            opinion(&subject(0x177d, 0xa800, Some(PcieType::RootPort))),
            None
        );
    }
}
