//! Whether a function isolates, as Linux believes it, and why.
//!
//! Kernel: `drivers/pci/pci.c`, `pci_acs_enabled` with the bits of [`super::REQUIRED`]. The
//! algorithm is the same from Linux 3.18 to the 7 series.

use std::fmt;

use crate::Answer;
use crate::config::PcieType;
use crate::pci::Identity;

use super::parameters::{AcsOverride, AcsParameters};
use super::quirk::{Rule, Subject, find_opinion};
use super::{Acs, BitNames};

/// What the kernel knows beside the functions themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Whether the machine has an AMD IOMMU (ACPI table `IVRS`).
    pub has_ivrs: bool,
    /// Whether the kernel could switch on the isolation of Intel's older chipsets. It does where
    /// an IOMMU is used and the chipset's register window is open, which no machine was seen
    /// without (`pci_quirk_enable_intel_lpc_acs`).
    pub has_pch_workaround: bool,
    /// What `pcie_acs_override=` makes the kernel believe, where it honours it.
    pub acs_override: AcsOverride,
    /// What the kernel writes when it adds a function.
    pub acs_parameters: AcsParameters,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            has_ivrs: false,
            has_pch_workaround: true,
            acs_override: AcsOverride::default(),
            acs_parameters: AcsParameters::default(),
        }
    }
}

/// What the kernel looks at when it judges a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Vendor and device.
    pub identity: Identity,
    /// Device/port type; `None` for conventional PCI.
    pub pcie_type: Answer<Option<PcieType>>,
    /// Its registers; `None` where it has no such capability.
    pub acs: Answer<Option<Acs>>,
    /// Whether the kernel takes it for one of several functions.
    pub is_multifunction: bool,
    /// Whether no bridge is above it.
    pub is_on_root_bus: bool,
}

/// Whether a function isolates, and why the kernel thinks so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isolation {
    /// The answer; where something decisive is hidden, that.
    pub isolates: Answer<bool>,
    /// The reason.
    pub because: Reason,
}

/// Why a function isolates, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The kernel's quirk table says so.
    Quirk(Rule),
    /// `pcie_acs_override=` says so: an assertion, not a fact.
    Asserted,
    /// Conventional PCI has no such thing.
    Conventional,
    /// A bridge to or from conventional PCI, or an event collector: never.
    BridgeType(PcieType),
    /// A port or one of several functions, without the capability.
    NoCapability,
    /// These bits are offered and off.
    BitsOff(u16),
    /// Every required bit that is offered is on.
    BitsOn,
    /// An endpoint with one function has no sibling to be kept from.
    SingleFunction,
    /// What decides could not be seen.
    Hidden,
}

/// Judges a function as the kernel does.
pub fn judge(candidate: &Candidate, platform: &Platform) -> Isolation {
    let opinion = find_opinion(&Subject {
        vendor: candidate.identity.vendor,
        device: candidate.identity.device,
        pcie_type: candidate.pcie_type,
        acs: candidate.acs,
        is_multifunction: candidate.is_multifunction,
        is_on_root_bus: candidate.is_on_root_bus,
        has_ivrs: platform.has_ivrs,
        has_pch_workaround: platform.has_pch_workaround,
    });
    match opinion {
        Answer::Known(Some((isolates, rule))) => known(isolates, Reason::Quirk(rule)),
        Answer::Known(None) => judge_by_type(candidate, platform),
        Answer::CannotSee => HIDDEN,
    }
}

const HIDDEN: Isolation = Isolation {
    isolates: Answer::CannotSee,
    because: Reason::Hidden,
};

const fn known(isolates: bool, because: Reason) -> Isolation {
    Isolation {
        isolates: Answer::Known(isolates),
        because,
    }
}

fn judge_by_type(candidate: &Candidate, platform: &Platform) -> Isolation {
    let Answer::Known(pcie_type) = candidate.pcie_type else {
        return HIDDEN;
    };
    let Some(pcie_type) = pcie_type else {
        return known(false, Reason::Conventional);
    };
    // The entry stands last in the patched kernel's quirk table.
    if candidate.acs == Answer::Known(None)
        && platform
            .acs_override
            .covers(candidate.identity, pcie_type, candidate.is_multifunction)
    {
        return known(true, Reason::Asserted);
    }
    match pcie_type {
        PcieType::PcieToPciBridge
        | PcieType::PciToPcieBridge
        | PcieType::RootComplexEventCollector => known(false, Reason::BridgeType(pcie_type)),
        PcieType::RootPort | PcieType::DownstreamPort => judge_registers(candidate.acs),
        PcieType::Endpoint
        | PcieType::LegacyEndpoint
        | PcieType::UpstreamPort
        | PcieType::RootComplexEndpoint => {
            if candidate.is_multifunction {
                judge_registers(candidate.acs)
            } else {
                known(true, Reason::SingleFunction)
            }
        }
        PcieType::Reserved(_) => known(true, Reason::SingleFunction),
    }
}

fn judge_registers(acs: Answer<Option<Acs>>) -> Isolation {
    match acs {
        Answer::CannotSee => HIDDEN,
        Answer::Known(None) => known(false, Reason::NoCapability),
        Answer::Known(Some(acs)) => match acs.missing() {
            0 => known(true, Reason::BitsOn),
            missing => known(false, Reason::BitsOff(missing)),
        },
    }
}

impl Reason {
    /// A short name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quirk(_) => "quirk",
            Self::Asserted => "asserted",
            Self::Conventional => "conventional",
            Self::BridgeType(_) => "bridge",
            Self::NoCapability => "no_capability",
            Self::BitsOff(_) => "bits_off",
            Self::BitsOn => "bits_on",
            Self::SingleFunction => "single_function",
            Self::Hidden => "hidden",
        }
    }

    /// The bits that are offered and off.
    pub fn missing_bits(self) -> u16 {
        match self {
            Self::BitsOff(missing) => missing,
            _ => 0,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quirk(rule) => f.write_str(rule.describe()),
            Self::Asserted => f.write_str("'pcie_acs_override=' asserts it"),
            Self::Conventional => f.write_str("it is conventional PCI, which has no ACS"),
            Self::BridgeType(PcieType::RootComplexEventCollector) => {
                f.write_str("an event collector never isolates")
            }
            Self::BridgeType(pcie_type) => write!(f, "a {pcie_type} never isolates"),
            Self::NoCapability => f.write_str("it has no ACS capability"),
            Self::BitsOff(missing) => {
                write!(f, "its ACS bits {} are off", BitNames(*missing))
            }
            Self::BitsOn => f.write_str("its ACS bits are on"),
            Self::SingleFunction => f.write_str("it has one function"),
            Self::Hidden => f.write_str("its registers could not be seen"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(pcie_type: Option<PcieType>, acs: Option<Acs>) -> Candidate {
        Candidate {
            identity: Identity {
                vendor: 0x1b36,
                device: 0x000c,
                subsystem_vendor: 0,
                subsystem_device: 0,
            },
            pcie_type: Answer::Known(pcie_type),
            acs: Answer::Known(acs),
            is_multifunction: false,
            is_on_root_bus: true,
        }
    }

    fn reason(candidate: &Candidate) -> Reason {
        judge(candidate, &Platform::default()).because
    }

    #[test]
    fn a_port_isolates_by_the_bits_that_it_has() {
        for port in [PcieType::RootPort, PcieType::DownstreamPort] {
            let of = |acs| reason(&candidate(Some(port), acs));
            assert_eq!(of(None), Reason::NoCapability);
            assert_eq!(of(Some(Acs::new(0x5f, 0x1d))), Reason::BitsOn);
            assert_eq!(of(Some(Acs::new(0x5f, 0x11))), Reason::BitsOff(0x0c));
            assert_eq!(
                of(Some(Acs::new(0x01, 0x01))),
                Reason::BitsOn,
                "bits not offered"
            );
        }
    }

    #[test]
    fn endpoints_and_upstream_ports_need_acs_only_among_siblings() {
        for kind in [
            PcieType::Endpoint,
            PcieType::LegacyEndpoint,
            PcieType::UpstreamPort,
            PcieType::RootComplexEndpoint,
        ] {
            let mut one = candidate(Some(kind), None);
            assert_eq!(reason(&one), Reason::SingleFunction);
            one.is_multifunction = true;
            assert_eq!(reason(&one), Reason::NoCapability);
            one.acs = Answer::Known(Some(Acs::new(0x5f, 0x1d)));
            assert_eq!(reason(&one), Reason::BitsOn);
        }
    }

    #[test]
    fn bridges_to_conventional_pci_never_isolate_even_with_the_capability() {
        let full = Some(Acs::new(0x5f, 0x1d));
        for kind in [
            PcieType::PcieToPciBridge,
            PcieType::PciToPcieBridge,
            PcieType::RootComplexEventCollector,
        ] {
            assert_eq!(
                reason(&candidate(Some(kind), full)),
                Reason::BridgeType(kind)
            );
        }
        assert_eq!(reason(&candidate(None, full)), Reason::Conventional);
    }

    #[test]
    fn conventional_pci_does_not_isolate() {
        let conventional = candidate(None, Some(Acs::new(0x5f, 0x1d)));
        let judged = judge(&conventional, &Platform::default());
        assert_eq!(judged.isolates, Answer::Known(false));
    }

    #[test]
    fn the_quirk_table_beats_the_capability_both_ways() {
        // A port of Zhaoxin that the table says no to, and one of Ampere that it vouches for.
        for (vendor, device, control, isolates) in
            [(0x1d17, 0x0720, 0x1d, false), (0x1def, 0xe005, 0, true)]
        {
            let acs = Some(Acs::new(0x1d, control));
            let mut port = candidate(Some(PcieType::RootPort), acs);
            (port.identity.vendor, port.identity.device) = (vendor, device);
            let judged = judge(&port, &Platform::default());
            assert_eq!(judged.isolates, Answer::Known(isolates));
        }
    }

    #[test]
    fn what_is_hidden_is_not_a_no() {
        let mut port = candidate(Some(PcieType::RootPort), None);
        port.acs = Answer::CannotSee;
        assert_eq!(judge(&port, &Platform::default()), HIDDEN);
        port.pcie_type = Answer::CannotSee;
        assert_eq!(judge(&port, &Platform::default()), HIDDEN);
    }

    #[test]
    fn an_assertion_speaks_only_where_there_is_no_capability() {
        let platform = Platform {
            acs_override: AcsOverride::parse("downstream"),
            ..Platform::default()
        };
        let bare = candidate(Some(PcieType::RootPort), None);
        assert_eq!(judge(&bare, &platform).because, Reason::Asserted);
        let cleared = candidate(Some(PcieType::RootPort), Some(Acs::new(0x1d, 0)));
        assert_eq!(judge(&cleared, &platform).because, Reason::BitsOff(0x1d));
        assert_eq!(
            judge(&candidate(None, None), &platform).because,
            Reason::Conventional
        );
        // An earlier "no" of the table wins.
        let mut chipset = candidate(Some(PcieType::RootPort), None);
        chipset.identity.vendor = 0x8086;
        chipset.identity.device = 0x1c10;
        let platform = Platform {
            has_pch_workaround: false,
            ..platform
        };
        assert_eq!(judge(&chipset, &platform).isolates, Answer::Known(false));
    }
}
