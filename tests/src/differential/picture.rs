//! What a differential machine shows, as the snapshot that the predictor takes.
//!
//! `tests/lab/differential/init.c` is the other end and describes the lines.

use std::collections::BTreeMap;

use vfioctl_core::config::{ConfigSpace, ReadConfig as _};
use vfioctl_core::pci::{ClassCode, GroupId, Identity, PciAddress, PciFunction, SriovRole};
use vfioctl_core::{Answer, Snapshot};

/// The machine at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    pub(super) snapshot: Snapshot,
    /// Where the ACS control register of a function lies, where it has one.
    pub(super) acs_control_at: BTreeMap<PciAddress, usize>,
}

impl Picture {
    /// Reads the lines of a dump; `None` where they are not one.
    pub(super) fn parse(lines: &[String]) -> Option<Self> {
        let mut this = Self::default();
        let mut current: Option<(&str, Vec<u8>)> = None;
        for line in lines {
            if let Some(head) = line.strip_prefix("f ") {
                if let Some((head, config)) = current.take() {
                    this.add(head, config)?;
                }
                let size = head.split(' ').next_back()?.parse().ok()?;
                current = Some((head, vec![0; size]));
            } else {
                let (offset, hex) = line.strip_prefix("c ")?.split_once(' ')?;
                let offset = usize::from_str_radix(offset, 16).ok()?;
                let row = current.as_mut()?.1.get_mut(offset..)?;
                for (byte, digits) in row.iter_mut().zip(hex.as_bytes().chunks(2)) {
                    let digits = std::str::from_utf8(digits).ok()?;
                    *byte = u8::from_str_radix(digits, 16).ok()?;
                }
            }
        }
        if let Some((head, config)) = current.take() {
            this.add(head, config)?;
        }
        Some(this)
    }

    fn add(&mut self, head: &str, config: Vec<u8>) -> Option<()> {
        let mut words = head.split(' ');
        let address: PciAddress = words.next()?.parse().ok()?;
        let upstream = words.next()?.parse().ok();
        let (identity, class) = parse_modalias(words.next()?)?;
        let iommu_group = words.next()?.parse().ok().map(GroupId);
        let sriov = match words.next()?.parse() {
            Ok(physical) => SriovRole::Virtual { physical },
            Err(_) => SriovRole::None,
        };
        let config = ConfigSpace::new(config);
        let facts = config.facts();
        if let Answer::Known(Some(registers)) = config.find_acs() {
            self.acs_control_at.insert(address, registers.control_at);
        }
        let function = PciFunction {
            address,
            identity,
            class,
            revision: 0,
            upstream,
            header_type: facts.header_type,
            multifunction_bit: facts.multifunction_bit,
            config_bytes_seen: facts.bytes_seen,
            pcie_type: facts.pcie_type,
            acs: facts.acs,
            driver: None,
            driver_override: Answer::Known(None),
            iommu_group,
            numa_node: None,
            bars: Vec::new(),
            reset_methods: Vec::new(),
            power_state: None,
            boot_vga: None,
            sriov,
            problems: Vec::new(),
        };
        self.snapshot.functions.insert(address, function);
        Some(())
    }
}

/// `drivers/pci/pci-sysfs.c`, `modalias_show`: `pci:vVVVVVVVVdDDDDDDDDsvSSSSSSSSsdSSSSSSSSbcBBscSSiII`.
fn parse_modalias(text: &str) -> Option<(Identity, ClassCode)> {
    let field =
        |from: usize, digits: usize| u32::from_str_radix(text.get(from..from + digits)?, 16).ok();
    let id = |from| u16::try_from(field(from, 8)?).ok();
    let identity = Identity {
        vendor: id(5)?,
        device: id(14)?,
        subsystem_vendor: id(24)?,
        subsystem_device: id(34)?,
    };
    let class = field(44, 2)? << 16 | field(48, 2)? << 8 | field(51, 2)?;
    Some((identity, ClassCode::new(class)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_functions() {
        let lines = [
            "f 0000:00:04.0 - pci:v00001B36d0000000Csv00001B36sd00000000bc06sc04i00 1 - 256",
            "c 0 361b0c0007051000000004060000810000",
            "f 0000:01:00.0 0000:00:04.0 pci:v00001234d000011E8sv00001AF4sd00001100bc00scFFi00 - - 256",
            "c 0 3412e811000000001000ff000000000000",
        ];
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let picture = Picture::parse(&lines).unwrap();
        let functions: Vec<_> = picture.snapshot.functions.values().collect();
        assert_eq!(functions[0].iommu_group, Some(GroupId(1)));
        assert_eq!(functions[0].class.code(), 0x06_0400);
        assert_eq!(functions[1].upstream, Some(functions[0].address));
        assert_eq!(functions[1].identity.device, 0x11e8);
        assert_eq!(functions[1].class.code(), 0x00_ff00);
        assert_eq!(functions[1].multifunction_bit, Answer::Known(false));
    }
}
