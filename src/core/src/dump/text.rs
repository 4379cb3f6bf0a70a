//! What the indented lines of `lspci -v`, `-vv` and `-vvv` say about a device.
//!
//! The words are those of pciutils' `ls-caps.c`, `ls-ecaps.c` and `lspci.c`, which have been the
//! same since 2008. Lines may have been broken by a mail program; indentation means nothing here.

use crate::Answer;
use crate::acs::Acs;
use crate::config::PcieType;
use crate::pci::{DriverName, GroupId};

use super::heading::{hex4, subsystem};

/// What the text of a device says, as far as it was printed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct TextFacts {
    /// Secondary and subordinate bus of a bridge.
    pub(super) buses: Option<(u8, u8)>,
    /// Device/port type.
    pub(super) pcie_type: Option<PcieType>,
    /// Whether capabilities were printed, or there were none to print.
    is_verbose: bool,
    /// Whether lspci was not allowed to see them.
    is_denied: bool,
    /// Whether the capability was named.
    has_acs: bool,
    acs_capability: Option<u16>,
    acs_control: Option<u16>,
    /// The kernel's group.
    pub(super) group: Option<GroupId>,
    /// The driver that is bound.
    pub(super) driver: Option<DriverName>,
    /// Subsystem vendor and subsystem.
    pub(super) subsystem: Option<(u16, u16)>,
    /// Virtual functions.
    pub(super) sriov: Option<SriovText>,
    open: Open,
}

/// The capability of single-root I/O virtualisation, as text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct SriovText {
    /// `Total VFs`.
    pub(super) total: u16,
    /// `Number of VFs`.
    pub(super) count: u16,
    /// `VF offset`.
    pub(super) offset: u16,
    /// `stride`.
    pub(super) stride: u16,
    /// Device ID of the virtual functions.
    pub(super) device: Option<u16>,
}

/// What a line left unfinished.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    /// The device/port type.
    Express(String),
    /// The number of the group.
    Group,
    /// Bits of the capability register.
    AcsCapability,
    /// Bits of the control register.
    AcsControl,
}

const ACS_FLAGS: [(&str, u16); 7] = [
    ("SrcValid", 1 << 0),
    ("TransBlk", 1 << 1),
    ("ReqRedir", 1 << 2),
    ("CmpltRedir", 1 << 3),
    ("UpstreamFwd", 1 << 4),
    ("EgressCtrl", 1 << 5),
    ("DirectTrans", 1 << 6),
];

/// Longer names before those that they begin with.
const TYPES: [(&str, PcieType); 9] = [
    (
        "Root Complex Integrated Endpoint",
        PcieType::RootComplexEndpoint,
    ),
    (
        "Root Complex Event Collector",
        PcieType::RootComplexEventCollector,
    ),
    ("Root Port", PcieType::RootPort),
    ("Upstream Port", PcieType::UpstreamPort),
    ("Downstream Port", PcieType::DownstreamPort),
    ("Legacy Endpoint", PcieType::LegacyEndpoint),
    ("Endpoint", PcieType::Endpoint),
    ("PCI-Express to PCI/PCI-X Bridge", PcieType::PcieToPciBridge),
    ("PCI/PCI-X to PCI-Express Bridge", PcieType::PciToPcieBridge),
];

impl TextFacts {
    /// Takes in one more line.
    pub(super) fn read(&mut self, line: &str) {
        if self.go_on(line) {
            return;
        }
        let (key, rest) = line.split_once(':').unwrap_or((line, ""));
        match key {
            "Capabilities" => self.read_capability(rest.trim()),
            "Bus" => self.read_buses(rest),
            // Where there are capabilities below, these lines say so; where they were not shown to
            // lspci, it says that. Without either there are none.
            "Flags" | "Control" | "Status" => self.is_verbose = true,
            "Subsystem" => self.subsystem = subsystem(rest),
            "Kernel driver in use" => self.driver = rest.trim().parse().ok(),
            "ACSCap" => self.open_acs(Open::AcsCapability, rest),
            "ACSCtl" => self.open_acs(Open::AcsControl, rest),
            "IOVSta" | "IOVCap" | "IOVCtl" => self.sriov_mut(),
            _ => {}
        }
        // `-v` has it among the flags, `-vv` on a line of its own.
        self.read_group(line);
        self.read_sriov(line);
    }

    /// Device/port type; `Known(None)` only where all capabilities were printed.
    pub(super) fn pcie_type(&self) -> Answer<Option<PcieType>> {
        match self.pcie_type {
            Some(known) => Answer::Known(Some(known)),
            None if self.is_verbose && !self.is_denied => Answer::Known(None),
            None => Answer::CannotSee,
        }
    }

    /// The ACS registers. `-v` names the capability without its bits; they stay unseen then.
    pub(super) fn acs(&self, has_wide_registers: bool) -> Answer<Option<Acs>> {
        match (self.acs_capability, self.acs_control) {
            // lspci prints the upper half of the capability for the control register. The kernel
            // has written it at boot, as everywhere.
            (Some(capability), Some(_)) if has_wide_registers => {
                Answer::Known(Some(Acs::new(capability, 0).enabled()))
            }
            (Some(capability), Some(control)) => Answer::Known(Some(Acs::new(capability, control))),
            _ if !self.has_acs && self.is_verbose && !self.is_denied => Answer::Known(None),
            _ => Answer::CannotSee,
        }
    }

    /// Whether the ACS capability is named and its bits are not printed, as with `-v`.
    pub(super) fn names_acs_only(&self) -> bool {
        self.has_acs && self.acs_control.is_none()
    }

    /// Takes in the rest of what the line before began; true where the line is nothing else.
    fn go_on(&mut self, line: &str) -> bool {
        match std::mem::take(&mut self.open) {
            Open::Nothing => false,
            Open::Express(begun) => {
                self.pcie_type = find_type(&format!("{begun} {line}"));
                self.pcie_type.is_some()
            }
            Open::Group => {
                self.group = self.group.or_else(|| leading_number(line).map(GroupId));
                false
            }
            open @ (Open::AcsCapability | Open::AcsControl) => {
                let is_more = line.split_whitespace().next().is_some_and(is_acs_flag);
                if is_more {
                    self.open_acs(open, line);
                }
                is_more
            }
        }
    }

    fn read_capability(&mut self, text: &str) {
        if text.starts_with('<') {
            self.is_denied = true;
            return;
        }
        self.is_verbose = true;
        let Some((_, name)) = text.split_once(']') else {
            return;
        };
        let name = name.trim_start();
        if name.starts_with("Access Control Services") {
            self.has_acs = true;
        } else if let Some(express) = name.strip_prefix("Express") {
            self.read_express(express);
        } else if name.starts_with("Single Root I/O Virtualization") {
            self.sriov_mut();
        }
    }

    fn read_express(&mut self, text: &str) {
        let text = text.trim();
        // `(v2)`; version 1 is printed in two ways.
        let kind = match text.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((_, rest)) => rest.trim(),
            None => text,
        };
        match find_type(kind) {
            Some(found) => self.pcie_type = Some(found),
            None => self.open = Open::Express(kind.to_owned()),
        }
    }

    fn read_buses(&mut self, text: &str) {
        let number = |name| {
            let (_, rest) = text.split_once(name)?;
            u8::from_str_radix(rest.get(..2)?, 16).ok()
        };
        if let (Some(secondary), Some(subordinate)) = (number("secondary="), number("subordinate="))
        {
            self.buses = Some((secondary, subordinate));
        }
    }

    fn read_group(&mut self, line: &str) {
        // The words end where the line was broken.
        if line.ends_with("IOMMU group") || line.ends_with("IOMMU group:") {
            self.open = Open::Group;
        } else if let Some((_, rest)) = line.split_once("IOMMU group") {
            let number = rest.trim_start_matches(':').trim_start();
            self.group = leading_number(number).map(GroupId).or(self.group);
        }
    }

    fn open_acs(&mut self, open: Open, text: &str) {
        let mut bits = 0;
        for word in text.split_whitespace() {
            let bit = word.strip_suffix('+').and_then(|name| {
                let mut all = ACS_FLAGS.iter();
                all.find(|(flag, _)| *flag == name).map(|(_, bit)| *bit)
            });
            bits |= bit.unwrap_or_default();
        }
        self.has_acs = true;
        let register = match open {
            Open::AcsCapability => &mut self.acs_capability,
            _ => &mut self.acs_control,
        };
        *register = Some(register.unwrap_or_default() | bits);
        self.open = open;
    }

    fn sriov_mut(&mut self) {
        self.sriov.get_or_insert_default();
    }

    /// `Initial VFs: 8, Total VFs: 8, Number of VFs: 2, ...` and
    /// `VF offset: 384, stride: 2, Device ID: 154c`.
    fn read_sriov(&mut self, line: &str) {
        let Some(sriov) = &mut self.sriov else {
            return;
        };
        for part in line.split(',') {
            let Some((name, value)) = part.split_once(':') else {
                continue;
            };
            let number =
                || leading_number(value.trim()).and_then(|number| u16::try_from(number).ok());
            match name.trim() {
                "Total VFs" => sriov.total = number().unwrap_or_default(),
                "Number of VFs" => sriov.count = number().unwrap_or_default(),
                "VF offset" => sriov.offset = number().unwrap_or_default(),
                "stride" => sriov.stride = number().unwrap_or_default(),
                "Device ID" => sriov.device = hex4(value.trim()),
                _ => {}
            }
        }
    }
}

fn is_acs_flag(word: &str) -> bool {
    let name = word.trim_end_matches(['+', '-']);
    ACS_FLAGS.iter().any(|(flag, _)| *flag == name)
}

fn find_type(text: &str) -> Option<PcieType> {
    let text = text.trim_start();
    if let Some(number) = text.strip_prefix("Unknown type ") {
        let bits = u8::try_from(leading_number(number)?).ok()?;
        return Some(PcieType::from_bits(bits));
    }
    let mut all = TYPES.iter();
    all.find(|(name, _)| text.starts_with(name))
        .map(|(_, kind)| *kind)
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> TextFacts {
        let mut facts = TextFacts::default();
        for line in lines {
            facts.read(line);
        }
        facts
    }

    #[test]
    fn every_spelling_of_a_type_is_read() {
        for (text, kind) in [
            ("Express (v2) Root Port (Slot+), MSI 00", PcieType::RootPort),
            ("Express Root Port (Slot-), IntMsgNum 0", PcieType::RootPort),
            (
                "Express (v1) Legacy Endpoint, MSI 00",
                PcieType::LegacyEndpoint,
            ),
            ("Express Endpoint, IntMsgNum 0", PcieType::Endpoint),
            ("Express (v2) Upstream Port, MSI 00", PcieType::UpstreamPort),
            (
                "Express (v2) Downstream Port (Slot+)",
                PcieType::DownstreamPort,
            ),
            (
                "Express (v1) PCI-Express to PCI/PCI-X Bridge",
                PcieType::PcieToPciBridge,
            ),
            (
                "Express PCI/PCI-X to PCI-Express Bridge",
                PcieType::PciToPcieBridge,
            ),
            (
                "Express (v2) Root Complex Integrated Endpoint",
                PcieType::RootComplexEndpoint,
            ),
            (
                "Express (v2) Root Complex Event Collector",
                PcieType::RootComplexEventCollector,
            ),
            (
                "Express (v2) Unknown type 11, MSI 00",
                PcieType::Reserved(11),
            ),
        ] {
            let facts = read(&[&format!("Capabilities: [40] {text}")]);
            assert_eq!(facts.pcie_type(), Answer::Known(Some(kind)), "{text}");
        }
        let broken = read(&[
            "Capabilities: [40] Express (v2) Root Complex",
            "Integrated Endpoint",
        ]);
        assert_eq!(
            broken.pcie_type(),
            Answer::Known(Some(PcieType::RootComplexEndpoint))
        );
    }

    #[test]
    fn what_lspci_was_not_shown_is_not_a_no() {
        let denied = read(&["Flags: fast devsel", "Capabilities: <access denied>"]);
        assert_eq!(denied.pcie_type(), Answer::CannotSee);
        assert_eq!(denied.acs(false), Answer::CannotSee);
        let nothing = read(&["Kernel driver in use: nvidia"]);
        assert_eq!(nothing.acs(false), Answer::CannotSee);
        let none = read(&["Flags: fast devsel"]);
        assert_eq!(none.pcie_type(), Answer::Known(None));
        assert_eq!(none.acs(false), Answer::Known(None));
        let named = read(&["Capabilities: [100] Access Control Services"]);
        assert_eq!(named.acs(false), Answer::CannotSee);
    }

    #[test]
    fn registers_are_read_also_where_their_lines_are_broken() {
        let facts = read(&[
            "Capabilities: [148 v1] Access Control Services",
            "ACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl-",
            "DirectTrans+",
            "ACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir- UpstreamFwd+ EgressCtrl-",
            "DirectTrans-",
            "Capabilities: [300 v1] Null",
        ]);
        assert_eq!(facts.acs(false), Answer::Known(Some(Acs::new(0x5f, 0x15))));
        assert_eq!(facts.acs(true), Answer::Known(Some(Acs::new(0x5f, 0x1d))));
    }

    #[test]
    fn groups_buses_and_drivers_are_read() {
        let facts = read(&[
            "Flags: bus master, fast devsel, latency 0, IRQ 33, IOMMU group",
            "17",
            "Bus: primary=00, secondary=01, subordinate=0f, sec-latency=0",
            "Kernel driver in use: pcieport",
        ]);
        assert_eq!(facts.group, Some(GroupId(17)));
        assert_eq!(facts.buses, Some((1, 0x0f)));
        assert_eq!(facts.driver, "pcieport".parse().ok());
        assert_eq!(read(&["IOMMU group: 3"]).group, Some(GroupId(3)));
    }

    #[test]
    fn virtual_functions_are_counted() {
        let facts = read(&[
            "Capabilities: [160 v1] Single Root I/O Virtualization (SR-IOV)",
            "IOVCap: Migration-, Interrupt Message Number: 000",
            "Initial VFs: 8, Total VFs: 8, Number of VFs: 2, Function Dependency Link: 00",
            "VF offset: 128, stride: 2, Device ID: 10ca",
        ]);
        let expected = SriovText {
            total: 8,
            count: 2,
            offset: 128,
            stride: 2,
            device: Some(0x10ca),
        };
        assert_eq!(facts.sriov, Some(expected));
    }
}
