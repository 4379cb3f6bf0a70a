//! What the kernel command line says about ACS.
//!
//! `pcie_acs_override=` is a patch that was never part of Linux: it writes no register and makes
//! the kernel believe. `pci=config_acs=` (6.11) and `pci=disable_acs_redir=` (4.19) are Linux's
//! own and write the control register when a device is added (`drivers/pci/pci.c`,
//! `pci_enable_acs`).

use crate::config::PcieType;
use crate::pci::{Identity, PciAddress};

use super::{Acs, REQUIRED};

/// What `pcie_acs_override=` makes a patched kernel believe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcsOverride {
    downstream: bool,
    multifunction: bool,
    /// Vendor and device; the patch has room for 15.
    ids: Vec<(u16, u16)>,
}

/// Room for ids in the patch (`max_acs_id`).
const MAX_IDS: usize = 15;

impl AcsOverride {
    /// Reads the value of the parameter; what is not understood has no effect, as in the patch.
    pub fn parse(value: &str) -> Self {
        let mut this = Self::default();
        for word in value.split(',') {
            match word {
                "downstream" => this.downstream = true,
                "multifunction" => this.multifunction = true,
                _ => {
                    if let Some(id) = word.strip_prefix("id:").and_then(parse_id)
                        && this.ids.len() < MAX_IDS
                    {
                        this.ids.push(id);
                    }
                }
            }
        }
        this
    }

    /// Both of the general words: what guides tell people to give.
    pub fn everything() -> Self {
        Self {
            downstream: true,
            multifunction: true,
            ids: Vec::new(),
        }
    }

    /// Whether nothing is asserted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a PCI Express function without an ACS capability is taken to isolate.
    pub(super) fn covers(
        &self,
        identity: Identity,
        pcie_type: PcieType,
        is_multifunction: bool,
    ) -> bool {
        if self.ids.contains(&(identity.vendor, identity.device)) {
            return true;
        }
        match pcie_type {
            PcieType::RootPort | PcieType::DownstreamPort => self.downstream,
            PcieType::Endpoint
            | PcieType::LegacyEndpoint
            | PcieType::UpstreamPort
            | PcieType::RootComplexEndpoint => self.multifunction && is_multifunction,
            _ => false,
        }
    }
}

/// What `pci=disable_acs_redir=` and `pci=config_acs=` make the kernel write when it adds a
/// function.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcsParameters {
    redirection_off: Vec<Place>,
    configured: Vec<(Flags, Place)>,
    /// From Linux 6.11 on there is `config_acs=`, and `disable_acs_redir=` works by the same code.
    is_since_6_11: bool,
}

/// One `FLAGS` of `config_acs=`: bits that are given, and their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flags {
    mask: u16,
    value: u16,
}

/// One `DEV`: `[domain:]bus:device.function[/device.function]*` or
/// `pci:vendor:device[:subvendor:subdevice]` (`drivers/pci/pci.c`, `pci_dev_str_match`).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Path(PciAddress, Vec<(u8, u8)>),
    Ids([Option<u16>; 4]),
}

/// Request redirect, completion redirect and egress control: what `disable_acs_redir=` is about.
const REDIRECTION: u16 = 0x2c;
/// Devices in one parameter; the command line itself ends at 4096 bytes.
const MAX_PLACES: usize = 256;

impl AcsParameters {
    /// Reads the values of all `pci=` parameters of a command line. `release` is the kernel's,
    /// `6.12.117-amd64`; what is not understood has no effect, as in the kernel.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>, release: &str) -> Self {
        let mut this = Self {
            is_since_6_11: version_of(release) >= (6, 11),
            ..Self::default()
        };
        for option in values.into_iter().flat_map(|value| value.split(',')) {
            if let Some(list) = option.strip_prefix("disable_acs_redir=") {
                let places = list.split(';').filter_map(parse_place);
                this.redirection_off.extend(places.take(MAX_PLACES));
            } else if let Some(list) = option.strip_prefix("config_acs=") {
                let rules = list.split(';').filter_map(|rule| {
                    let (flags, place) = rule.split_once('@')?;
                    Some((parse_flags(flags)?, parse_place(place)?))
                });
                this.configured.extend(rules.take(MAX_PLACES));
            }
        }
        this
    }

    /// The control register after the kernel has added the function with an IOMMU in use.
    /// `path` is the function and the bridges above it, nearest first. From Linux 6.11 on, bits
    /// that a parameter leaves alone stay as they are found in the register: as firmware left them
    /// at boot, and as anybody left them when a function is removed and found again.
    pub fn control_when_added(&self, acs: Acs, identity: Identity, path: &[PciAddress]) -> u16 {
        self.control_from(acs.control(), acs, identity, path)
    }

    /// The same at boot. What firmware had written cannot be known; it is taken to be nothing, as
    /// on most machines.
    pub fn control_at_boot(&self, acs: Acs, identity: Identity, path: &[PciAddress]) -> u16 {
        self.control_from(0, acs, identity, path)
    }

    fn control_from(&self, found: u16, acs: Acs, identity: Identity, path: &[PciAddress]) -> u16 {
        let mut control = acs.enabled().control();
        let is_at = |place: &Place| place.is_at(identity, path);
        if self.redirection_off.iter().any(is_at) {
            let before = if self.is_since_6_11 { found } else { control };
            control = before & !REDIRECTION;
        }
        if self.is_since_6_11 {
            for (flags, _) in self.configured.iter().filter(|(_, place)| is_at(place)) {
                control = (found & !flags.mask) | (flags.value & flags.mask);
            }
        }
        control & acs.capability()
    }

    /// Whether a function gets less than every required bit that it offers.
    pub fn weakens(&self, acs: Acs, identity: Identity, path: &[PciAddress]) -> bool {
        let control = self.control_at_boot(acs, identity, path);
        acs.capability() & REQUIRED & !control != 0
    }
}

impl Place {
    fn is_at(&self, identity: Identity, path: &[PciAddress]) -> bool {
        match self {
            Self::Ids(ids) => {
                let own = [
                    identity.vendor,
                    identity.device,
                    identity.subsystem_vendor,
                    identity.subsystem_device,
                ];
                ids.iter()
                    .zip(own)
                    .all(|(wanted, own)| wanted.is_none_or(|wanted| wanted == own))
            }
            Self::Path(first, rest) => {
                let below = rest.iter().rev().zip(path).all(|((device, function), at)| {
                    (at.device(), at.function()) == (*device, *function)
                });
                below && path.get(rest.len()) == Some(first)
            }
        }
    }
}

fn parse_place(text: &str) -> Option<Place> {
    if let Some(ids) = text.strip_prefix("pci:") {
        let mut all = [None; 4];
        let mut words = ids.split(':');
        for slot in &mut all {
            *slot = match words.next() {
                None => None,
                // PCI_ANY_ID
                Some("0") => None,
                Some(word) => Some(u16::from_str_radix(word, 16).ok()?),
            };
        }
        return words.next().is_none().then_some(Place::Ids(all));
    }
    let mut parts = text.split('/');
    let first = parts.next()?.parse().ok()?;
    let rest: Option<Vec<_>> = parts.map(parse_device_function).collect();
    Some(Place::Path(first, rest?))
}

fn parse_device_function(text: &str) -> Option<(u8, u8)> {
    let (device, function) = text.split_once('.')?;
    Some((
        u8::from_str_radix(device, 16).ok()?,
        u8::from_str_radix(function, 16).ok()?,
    ))
}

/// The right-most character is bit 0; `x` leaves a bit to firmware.
fn parse_flags(text: &str) -> Option<Flags> {
    let mut flags = Flags { mask: 0, value: 0 };
    for (bit, character) in text.chars().rev().enumerate() {
        let bit = 1_u16.checked_shl(u32::try_from(bit).ok()?)?;
        match character {
            '0' => flags.mask |= bit,
            '1' => {
                flags.mask |= bit;
                flags.value |= bit;
            }
            'x' | 'X' => {}
            _ => return None,
        }
    }
    Some(flags)
}

fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse().unwrap_or_default());
    (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    )
}

fn parse_id(text: &str) -> Option<(u16, u16)> {
    let (vendor, device) = text.split_once(':')?;
    Some((
        u16::from_str_radix(vendor, 16).ok()?,
        u16::from_str_radix(device, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(value: &str, pcie_type: PcieType, is_multifunction: bool) -> bool {
        let identity = Identity {
            vendor: 0x1022,
            device: 0x1453,
            subsystem_vendor: 0,
            subsystem_device: 0,
        };
        AcsOverride::parse(value).covers(identity, pcie_type, is_multifunction)
    }

    #[test]
    fn each_word_covers_its_own_kind() {
        assert!(covers("downstream", PcieType::RootPort, false));
        assert!(covers("downstream", PcieType::DownstreamPort, true));
        assert!(!covers("downstream", PcieType::UpstreamPort, true));
        assert!(covers("multifunction", PcieType::Endpoint, true));
        assert!(!covers("multifunction", PcieType::Endpoint, false));
        assert!(!covers("multifunction", PcieType::RootPort, true));
        assert!(covers("id:1022:1453", PcieType::PcieToPciBridge, false));
        assert!(!covers("id:1022:1454", PcieType::RootPort, false));
        assert!(covers("nonsense,downstream", PcieType::RootPort, false));
    }

    fn control(value: &str, release: &str, path: &[&str]) -> u16 {
        let identity = Identity {
            vendor: 0x1b36,
            device: 0x000c,
            subsystem_vendor: 0,
            subsystem_device: 0,
        };
        let path: Vec<PciAddress> = path.iter().map(|at| at.parse().unwrap()).collect();
        AcsParameters::parse([value], release).control_at_boot(Acs::new(0x5f, 0), identity, &path)
    }

    #[test]
    fn control_after_a_boot_is_what_was_seen_on_both_kernels() {
        let port = ["0000:00:04.0"];
        assert_eq!(control("noaer", "6.1.0-56-amd64", &port), 0x1d);
        let redir = "disable_acs_redir=0000:00:05.0;00:04.0";
        assert_eq!(control(redir, "6.1.0-56-amd64", &port), 0x11);
        assert_eq!(control(redir, "6.12.117", &port), 0x00);
        let config = "noaer,config_acs=xx0x1xx@0000:00:04.0";
        assert_eq!(control(config, "6.12.117", &port), 0x04);
        assert_eq!(control(config, "6.1.0", &port), 0x1d);
        assert_eq!(
            control("config_acs=10x", "6.12.1", &port),
            0x1d,
            "no '@': ignored"
        );
    }

    /// Seen by the differential test: Linux 6.12 took "firmware's value" from the register that
    /// somebody had written before the port was removed.
    #[test]
    fn bits_that_no_parameter_names_stay_when_a_port_is_found_again() {
        let identity = Identity {
            vendor: 0x1b36,
            device: 0x000c,
            subsystem_vendor: 0,
            subsystem_device: 0,
        };
        let path = ["0000:00:04.0".parse().unwrap()];
        let again = |value: &str, release: &str| {
            let acs = Acs::new(0x5f, 0x5f);
            AcsParameters::parse([value], release).control_when_added(acs, identity, &path)
        };
        let redir = "disable_acs_redir=00:04.0";
        assert_eq!(again(redir, "6.1"), 0x53);
        assert_eq!(again(redir, "6.12"), 0x53);
        assert_eq!(again("config_acs=xx0x1xx@00:04.0", "6.12"), 0x4f);
    }

    #[test]
    fn places_are_addresses_paths_and_ids() {
        let path = ["0000:01:00.0", "0000:00:04.0"];
        let redir = |place: &str| control(&format!("disable_acs_redir={place}"), "6.1", &path);
        assert_eq!(redir("00:04.0/00.0"), 0x11);
        assert_eq!(redir("00:04.0/00.1"), 0x1d);
        assert_eq!(redir("00:05.0/00.0"), 0x1d);
        assert_eq!(redir("01:00.0"), 0x11);
        assert_eq!(redir("pci:1b36:000c"), 0x11);
        assert_eq!(redir("pci:1b36:000d"), 0x1d);
        assert_eq!(redir("pci:0:0"), 0x11);
        assert_eq!(redir("nonsense"), 0x1d);
    }

    #[test]
    fn nonsense_asserts_nothing() {
        for value in ["", "on", "id:", "id:zz:1", "id:1022", "Downstream"] {
            assert!(AcsOverride::parse(value).is_empty(), "{value}");
        }
    }
}
