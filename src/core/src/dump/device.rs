//! All that a dump says about one device, bytes and text, and the function it comes to.

use crate::Answer;
use crate::config::{ConfigSpace, HeaderType, PcieType, ReadConfig as _, regs};
use crate::pci::{ClassCode, Identity, PciAddress, PciFunction, SriovRole};

use super::NameTable;
use super::heading::Heading;
use super::text::TextFacts;

/// What neither bytes nor text give a class: "unassigned class".
const UNASSIGNED: u32 = 0xff_0000;
const CLASS_PCI_BRIDGE: (u8, u8) = (0x06, 0x04);
const CLASS_CARDBUS_BRIDGE: (u8, u8) = (0x06, 0x07);

/// All that a dump says about one device.
#[derive(Debug, Default)]
pub(super) struct Device {
    /// Its first line, with what mail programs broke off it.
    pub(super) heading: String,
    /// Its config space, from the start.
    pub(super) bytes: Vec<u8>,
    /// Its other lines.
    pub(super) text: TextFacts,
}

/// What is known about the whole dump before its devices are looked at one by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Whether any device has more than 256 bytes, or the dump is a report: then those that end
    /// there have no more. A dump of `-xxx` ends there for all.
    pub(super) has_extended: bool,
}

impl Device {
    /// Takes in some bytes. What would leave a hole is not taken: nothing behind it is sure.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at.saturating_add(bytes.len());
        if at > self.bytes.len() || end > ConfigSpace::MAX_BYTES {
            return;
        }
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
    }

    /// The config space, where there is any; of a virtual function too, whose own numbers read as
    /// ones, and are put right.
    pub(super) fn config(&self, ids: (u16, u16)) -> ConfigSpace {
        let mut bytes = self.bytes.clone();
        if self.is_virtual_by_bytes()
            && let Some(place) = bytes.get_mut(..4)
        {
            let numbers = u32::from(ids.1) << 16 | u32::from(ids.0);
            place.copy_from_slice(&numbers.to_le_bytes());
        }
        ConfigSpace::new(bytes)
    }

    /// Whether the bytes are those of a virtual function: vendor and device read as ones, the rest
    /// does not (PCI Express Base 6.0, section 9.3.4.1.1).
    pub(super) fn is_virtual_by_bytes(&self) -> bool {
        let is_ones = |range| {
            let bytes: Option<&[u8]> = self.bytes.get(range);
            bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0xff))
        };
        is_ones(0..4) && self.bytes.len() >= 16 && !is_ones(4..16)
    }

    /// Vendor and device: of the bytes, or of the text, or by their names.
    pub(super) fn ids(&self, heading: &Heading, names: &dyn NameTable) -> (u16, u16) {
        let config = ConfigSpace::new(self.bytes.clone());
        let of_bytes = config
            .word(regs::VENDOR_ID)
            .zip(config.word(regs::DEVICE_ID));
        if let Some((vendor, device)) = of_bytes
            && vendor != 0xffff
        {
            return (vendor, device);
        }
        if let (Some(vendor), Some(device)) = (heading.vendor, heading.device) {
            return (vendor, device);
        }
        let named = heading.name.as_deref().and_then(|name| names.ids(name));
        // A vendor without its device still decides something; no table has a device 0.
        let vendor_alone = heading.vendor.map(|vendor| (vendor, 0));
        let gone = of_bytes.unwrap_or_default();
        named.or(vendor_alone).unwrap_or(gone)
    }

    /// Secondary and subordinate bus, where it is a bridge that has them set.
    pub(super) fn buses(&self) -> Option<(u8, u8)> {
        let config = ConfigSpace::new(self.bytes.clone());
        let of_bytes = match config.header_type() {
            Answer::Known(kind) if kind.is_bridge() && !self.is_virtual_by_bytes() => config
                .byte(regs::SECONDARY_BUS)
                .zip(config.byte(regs::SUBORDINATE_BUS)),
            Answer::Known(_) => return None,
            Answer::CannotSee => None,
        };
        of_bytes.or(self.text.buses)
    }

    /// The function, without the bridge above it.
    pub(super) fn function(
        &self,
        address: PciAddress,
        names: &dyn NameTable,
        extent: Extent,
        has_siblings: bool,
    ) -> PciFunction {
        let heading = Heading::parse(&self.heading);
        let (vendor, device) = self.ids(&heading, names);
        let config = self.config((vendor, device));
        let mut facts = config.facts();
        let may_have_more = config.bytes_seen() == regs::EXTENDED_START && !extent.has_extended;
        if may_have_more && facts.pcie_type != Answer::Known(None) {
            facts.acs = Answer::CannotSee;
        }
        let class = class_of(&config, &heading);
        let by_number = address.function() > 0 || has_siblings;
        PciFunction {
            address,
            identity: self.identity(vendor, device, &config),
            class,
            revision: config.byte(regs::REVISION).unwrap_or(heading.revision),
            upstream: None,
            header_type: first(facts.header_type, || self.header_type(class)),
            // lspci does not print it; the kernel sets it wherever it finds a second function.
            multifunction_bit: first(facts.multifunction_bit, || Answer::Known(by_number)),
            config_bytes_seen: facts.bytes_seen,
            pcie_type: first(facts.pcie_type, || self.text.pcie_type()),
            acs: first(facts.acs, || {
                self.text
                    .acs(crate::acs::has_wide_registers(vendor, device))
            }),
            driver: self.text.driver.clone(),
            driver_override: Answer::CannotSee,
            iommu_group: self.text.group,
            numa_node: None,
            bars: Vec::new(),
            reset_methods: Vec::new(),
            power_state: None,
            boot_vga: None,
            sriov: SriovRole::None,
            problems: Vec::new(),
        }
    }

    fn identity(&self, vendor: u16, device: u16, config: &ConfigSpace) -> Identity {
        let of_bytes = match config.header_type() {
            Answer::Known(HeaderType::Normal) => config
                .word(regs::SUBSYSTEM_VENDOR_ID)
                .zip(config.word(regs::SUBSYSTEM_ID)),
            _ => None,
        };
        let (subsystem_vendor, subsystem_device) =
            of_bytes.or(self.text.subsystem).unwrap_or_default();
        Identity {
            vendor,
            device,
            subsystem_vendor,
            subsystem_device,
        }
    }

    /// The layout of the header as the text has it.
    fn header_type(&self, class: ClassCode) -> Answer<HeaderType> {
        match (class.base(), class.subclass()) {
            CLASS_CARDBUS_BRIDGE => Answer::Known(HeaderType::CardBus),
            CLASS_PCI_BRIDGE => Answer::Known(HeaderType::Bridge),
            _ if self.text.buses.is_some() => Answer::Known(HeaderType::Bridge),
            _ => Answer::Known(HeaderType::Normal),
        }
    }
}

fn class_of(config: &ConfigSpace, heading: &Heading) -> ClassCode {
    let of_bytes = config
        .dword(regs::REVISION)
        .and_then(|word| ClassCode::new(word >> 8));
    of_bytes
        .filter(|class| class.code() != 0xff_ffff)
        .or_else(|| heading.class_code())
        .or_else(|| ClassCode::new(UNASSIGNED))
        .unwrap_or_default()
}

fn first<T>(answer: Answer<T>, other: impl FnOnce() -> Answer<T>) -> Answer<T> {
    match answer {
        Answer::Known(_) => answer,
        Answer::CannotSee => other(),
    }
}

/// Whether a function of this type sits on a root bus, or never does; `None` where the type tells
/// nothing (PCI Express Base 6.0, section 1.3).
pub(super) fn is_of_root_bus(function: &PciFunction) -> Option<bool> {
    let is_host_bridge = (function.class.base(), function.class.subclass()) == (0x06, 0x00);
    match function.pcie_type {
        Answer::Known(Some(
            PcieType::RootPort
            | PcieType::RootComplexEndpoint
            | PcieType::RootComplexEventCollector,
        )) => Some(true),
        Answer::Known(Some(
            PcieType::Endpoint
            | PcieType::LegacyEndpoint
            | PcieType::UpstreamPort
            | PcieType::DownstreamPort
            | PcieType::PcieToPciBridge,
        )) if !is_host_bridge => Some(false),
        _ if is_host_bridge => Some(true),
        _ => None,
    }
}
