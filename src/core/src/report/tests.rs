use super::*;
use crate::Answer;
use crate::acs::Acs;
use crate::config::PcieType;
use crate::dump::parse_dump;

/// A root port with ACS, a serial number, vital product data and vendors' own data.
fn space() -> Vec<u8> {
    let mut bytes = vec![0xee; 4096];
    bytes[..0x40].fill(0);
    bytes[0..4].copy_from_slice(&[0x22, 0x10, 0x83, 0x14]);
    bytes[6] = 0x10;
    bytes[0x0a..0x0c].copy_from_slice(&[0x04, 0x06]);
    bytes[0x0e] = 1;
    bytes[0x19..0x1b].copy_from_slice(&[1, 1]);
    bytes[0x34] = 0x40;
    bytes[0x40..0x44].copy_from_slice(&[0x10, 0x90, 0x42, 0x01]); // PCI Express
    bytes[0x90..0x92].copy_from_slice(&[0x09, 0xa0]); // vendor-specific
    bytes[0xa0..0xa2].copy_from_slice(&[0x03, 0x00]); // vital product data
    let head = |id: u32, next: u32| (next << 20 | 1 << 16 | id).to_le_bytes();
    bytes[0x100..0x104].copy_from_slice(&head(0x0003, 0x10c)); // serial number
    bytes[0x10c..0x110].copy_from_slice(&head(0x000b, 0x140)); // vendor-specific
    bytes[0x140..0x144].copy_from_slice(&head(0x000d, 0x200)); // ACS
    bytes[0x144..0x148].copy_from_slice(&[0x5f, 0, 0x1d, 0]);
    bytes[0x200..0x204].copy_from_slice(&head(0x0023, 0)); // designated vendor-specific
    bytes
}

fn port() -> PciFunction {
    let dump = parse_dump("00:01.0 0604: 1022:1483 (rev 02)\n").unwrap();
    dump.snapshot.functions.into_values().next().unwrap()
}

#[test]
fn nothing_but_listed_registers_is_kept() {
    let kept = redacted(&ConfigSpace::new(space()));
    assert_eq!(kept.len(), 4096);
    // In this space every byte that the standard does not define is 0xee.
    let left: Vec<usize> = (0..4096).filter(|at| kept[*at] == 0xee).collect();
    let express: Vec<usize> = (0x44..0x7c).collect();
    assert_eq!(left, express);
    assert_eq!(kept[0x100..0x104], space()[0x100..0x104]);
    assert_eq!(kept[0x104..0x10c], [0; 8], "the serial number");
    assert_eq!(kept[0x140..0x148], space()[0x140..0x148]);
}

#[test]
fn a_redacted_space_tells_the_same_facts() {
    use crate::config::ReadConfig as _;
    let whole = ConfigSpace::new(space());
    assert_eq!(ConfigSpace::new(redacted(&whole)).facts(), whole.facts());
}

#[test]
fn no_bytes_stop_the_redaction() {
    for len in [0, 1, 63, 64, 65, 256, 257, 4095, 4096] {
        for fill in [0x00, 0x10, 0x40, 0x41, 0xfc, 0xff] {
            let kept = redacted(&ConfigSpace::new(vec![fill; len]));
            assert_eq!(kept.len(), len);
        }
    }
}

#[test]
fn a_report_is_read_back_as_it_was() {
    let function = PciFunction {
        iommu_group: Some(crate::pci::GroupId(7)),
        driver: "pcieport".parse().ok(),
        ..port()
    };
    let head = ReportHead {
        kernel_release: Some("6.1.0".into()),
        tables: Some(vec!["IVRS".into()]),
        ..ReportHead::default()
    };
    let reported = ReportedFunction {
        function: &function,
        config: redacted(&ConfigSpace::new(space())),
        source: ConfigSource::Device,
    };
    let dump = parse_dump(&report_text(&head, &[reported])).unwrap();
    assert_eq!(dump.kernel_release.as_deref(), Some("6.1.0"));
    assert!(dump.has_ivrs && dump.has_kernel_groups);
    let read = dump.snapshot.function(function.address).unwrap();
    assert_eq!(read.pcie_type, Answer::Known(Some(PcieType::RootPort)));
    assert_eq!(read.acs, Answer::Known(Some(Acs::new(0x5f, 0x1d))));
    assert_eq!(read.iommu_group, function.iommu_group);
    assert_eq!(read.driver, function.driver);
}

#[test]
fn facts_of_the_helper_are_as_good_as_bytes() {
    let known = PciFunction {
        pcie_type: Answer::Known(Some(PcieType::RootPort)),
        acs: Answer::Known(Some(Acs::new(0x5f, 0x1d))),
        ..port()
    };
    for (vendor, device) in [(0x1022, 0x1483), (0x8086, 0xa110)] {
        let mut function = known.clone();
        (function.identity.vendor, function.identity.device) = (vendor, device);
        let mut header = space();
        header[0..2].copy_from_slice(&vendor.to_le_bytes());
        header[2..4].copy_from_slice(&device.to_le_bytes());
        let reported = ReportedFunction {
            function: &function,
            config: synthesized(&header, &function).unwrap(),
            source: ConfigSource::Helper,
        };
        let dump = parse_dump(&report_text(&ReportHead::default(), &[reported])).unwrap();
        let read = dump.snapshot.function(function.address).unwrap();
        assert_eq!((read.pcie_type, read.acs), (known.pcie_type, known.acs));
    }
    assert_eq!(synthesized(&space(), &port()), None);
}

#[test]
fn only_listed_parameters_are_told() {
    for word in [
        "intel_iommu=on",
        "amd-iommu=on",
        "iommu=pt",
        "iommu.passthrough=1",
        "pci=noats",
        "pcie_acs_override=downstream,multifunction",
        "vfio-pci.ids=10de:2684",
        "pcie_aspm=off",
    ] {
        assert!(is_reported_parameter(word), "{word}");
    }
    for word in [
        "root=UUID=1234",
        "cryptdevice=/dev/sda",
        "ip=10.0.0.1",
        "quiet",
        "pci=a\"b",
        "BOOT_IMAGE=/vmlinuz",
    ] {
        assert!(!is_reported_parameter(word), "{word}");
    }
}
