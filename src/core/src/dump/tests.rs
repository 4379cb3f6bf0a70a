//! Dumps of machines that do not exist, in every form.

use std::fmt::Write as _;

use crate::acs::Acs;
use crate::config::{HeaderType, PcieType};
use crate::iommu::{Topology, predict};

use super::*;

fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn dump(text: &str) -> Dump {
    parse_dump(text).unwrap()
}

fn groups(dump: &Dump) -> Vec<Vec<String>> {
    let prediction = predict(&Topology::of(&dump.snapshot), &dump.platform());
    let named = |group: &Vec<PciAddress>| group.iter().map(ToString::to_string).collect();
    prediction.groups.iter().map(named).collect()
}

/// Config space of a function, and how lspci prints it.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new(len: usize, vendor: u16, device: u16, class: u16) -> Self {
        let mut bytes = vec![0; len];
        bytes[0..2].copy_from_slice(&vendor.to_le_bytes());
        bytes[2..4].copy_from_slice(&device.to_le_bytes());
        bytes[0x0a..0x0c].copy_from_slice(&class.to_le_bytes());
        Self(bytes)
    }

    fn express(mut self, kind: PcieType) -> Self {
        self.0[6] = 0x10;
        self.0[0x34] = 0x40;
        if self.0.len() > 0x40 {
            self.0[0x40] = 0x10;
            self.0[0x42] = kind.bits() << 4 | 2;
        }
        self
    }

    fn bridge(mut self, secondary: u8, subordinate: u8) -> Self {
        self.0[0x0e] = 1;
        self.0[0x19] = secondary;
        self.0[0x1a] = subordinate;
        self
    }

    fn acs(mut self, capability: u8, control: u8) -> Self {
        self.0[0x100..0x104].copy_from_slice(&0x0001_000d_u32.to_le_bytes());
        self.0[0x104] = capability;
        self.0[0x106] = control;
        self
    }

    fn lines(&self, heading: &str) -> String {
        let mut text = format!("{heading}\n");
        for (index, line) in self.0.chunks(16).enumerate() {
            write!(text, "{:02x}:", index * 16).unwrap();
            for byte in line {
                write!(text, " {byte:02x}").unwrap();
            }
            text.push('\n');
        }
        text
    }
}

fn root_port(len: usize, control: u8) -> Bytes {
    let port = Bytes::new(len, 0x1022, 0x1483, 0x0604)
        .express(PcieType::RootPort)
        .bridge(1, 1);
    if len > 256 {
        port.acs(0x5f, control)
    } else {
        port
    }
}

fn gpu(len: usize) -> Bytes {
    Bytes::new(len, 0x10de, 0x2684, 0x0300).express(PcieType::Endpoint)
}

/// A root port with a card below it, each with so many bytes.
fn machine(len: usize, control: u8) -> String {
    root_port(len, control).lines("00:01.0 0604: 1022:1483")
        + "\n"
        + &gpu(len).lines("01:00.0 0300: 10de:2684 (rev a1)")
}

#[test]
fn whole_bytes_tell_everything() {
    let dump = dump(&machine(4096, 0x1d));
    let port = &dump.snapshot.functions[&at("00:01.0")];
    assert_eq!(port.pcie_type, Answer::Known(Some(PcieType::RootPort)));
    assert_eq!(port.acs, Answer::Known(Some(Acs::new(0x5f, 0x1d))));
    assert_eq!(port.header_type, Answer::Known(HeaderType::Bridge));
    let card = &dump.snapshot.functions[&at("01:00.0")];
    assert_eq!(card.upstream, Some(at("00:01.0")));
    assert!(dump.missing_bridges.is_empty());
    assert_eq!(groups(&dump), [["0000:00:01.0"], ["0000:01:00.0"]]);
}

#[test]
fn bits_that_are_off_join() {
    assert_eq!(
        groups(&dump(&machine(4096, 0x11))),
        [["0000:00:01.0", "0000:01:00.0"]]
    );
}

#[test]
fn short_dumps_leave_it_open() {
    for len in [64, 256] {
        let dump = dump(&machine(len, 0x1d));
        assert_eq!(
            dump.snapshot.functions[&at("00:01.0")].acs,
            Answer::CannotSee,
            "{len} bytes"
        );
        let prediction = predict(&Topology::of(&dump.snapshot), &dump.platform());
        assert!(prediction.uncertain.contains(&at("01:00.0")), "{len} bytes");
    }
}

#[test]
fn how_a_text_came_does_not_matter() {
    let plain = machine(4096, 0x1d);
    let expected = dump(&plain);
    let quoted: String = plain.lines().map(|line| format!("> {line}\n")).collect();
    let forms = [
        plain.replace('\n', "\r\n"),
        plain.replace("\n\n", "\n"),
        plain.replace('\n', "   \n"),
        quoted,
        format!("user@host:~# lspci -D -xxxx\n```\n{plain}```\n"),
        plain.replace("\n00:01.0", "\n0000:00:01.0"),
        plain.to_uppercase().replace("REV", "rev"),
    ];
    for text in forms {
        assert_eq!(dump(&text), expected, "{}", &text[..80]);
    }
}

#[test]
fn bytes_win_over_words_and_words_fill_up() {
    let words = "\
01:00.0 VGA compatible controller: NVIDIA Corporation AD102 (rev a1)
\tFlags: fast devsel, IOMMU group 7
\tCapabilities: [60] Express Legacy Endpoint, MSI 00
\tKernel driver in use: nvidia
";
    let dump = dump(&format!("{}\n{words}", machine(4096, 0x1d)));
    let card = &dump.snapshot.functions[&at("01:00.0")];
    assert_eq!(card.pcie_type, Answer::Known(Some(PcieType::Endpoint)));
    assert_eq!(card.identity.device, 0x2684);
    assert_eq!(card.driver, "nvidia".parse().ok());
    assert!(dump.has_kernel_groups);
}

const PORT_WORDS: &str = "\
00:1c.0 PCI bridge: Intel Corporation Device a110 (rev f1)
\tFlags: bus master, fast devsel, latency 0, IRQ 16, IOMMU group 3
\tBus: primary=00, secondary=04, subordinate=05, sec-latency=0
\tCapabilities: [40] Express Root Port (Slot+), MSI 00
\tCapabilities: [140] Access Control Services
";

#[test]
fn acs_without_bits_is_what_linux_makes_of_it_where_it_made_groups() {
    let with_groups = dump(PORT_WORDS);
    assert!(with_groups.has_assumed_acs);
    let port = &with_groups.snapshot.functions[&at("00:1c.0")];
    assert_eq!(port.acs, Answer::Known(Some(Acs::new(0x1d, 0x1d))));
    let without = dump(&PORT_WORDS.replace(", IOMMU group 3", ""));
    assert!(!without.has_assumed_acs);
    assert_eq!(
        without.snapshot.functions[&at("00:1c.0")].acs,
        Answer::CannotSee
    );
}

#[test]
fn a_bridge_that_is_missing_is_named() {
    let card = gpu(4096).lines("05:00.0 0300: 10de:2684");
    let alone = dump(&card);
    assert_eq!(alone.missing_bridges, ["the bridge to bus 0000:05"]);
    assert_eq!(groups(&alone), [["0000:05:00.0"]]);
    // The innermost bridge that is there is above it, over the hole.
    let below = dump(&format!("{PORT_WORDS}{card}"));
    assert_eq!(below.missing_bridges, ["the bridge to bus 0000:05"]);
    let card = &below.snapshot.functions[&at("05:00.0")];
    assert_eq!(card.upstream, Some(at("00:1c.0")));
}

#[test]
fn root_buses_other_than_the_first_have_nothing_above() {
    let uncore = "00:00.0 0600: 8086:6f00\nff:0b.0 0880: 8086:6f81\n80:05.0 0880: 8086:6f28\n";
    assert!(dump(uncore).missing_bridges.is_empty());
}

#[test]
fn virtual_functions_are_known_by_their_ones_and_by_their_physical_one() {
    let mut physical = Bytes::new(4096, 0x8086, 0x1563, 0x0200).express(PcieType::Endpoint);
    physical.0[0x100..0x104].copy_from_slice(&0x0001_0010_u32.to_le_bytes());
    physical.0[0x10e] = 64;
    physical.0[0x110] = 1;
    physical.0[0x115] = 1; // First VF Offset 256: the next bus
    physical.0[0x116] = 2;
    physical.0[0x11a..0x11c].copy_from_slice(&0x1565_u16.to_le_bytes());
    let virtual_function = Bytes::new(4096, 0xffff, 0xffff, 0x0200).express(PcieType::Endpoint);
    let port = Bytes::new(4096, 0x1022, 0x1483, 0x0604)
        .express(PcieType::RootPort)
        .bridge(1, 2)
        .acs(0x5f, 0x1d);
    let dump = dump(
        &(port.lines("00:01.0 0604: 1022:1483")
            + &physical.lines("01:00.0 0200: 8086:1563")
            + &virtual_function.lines("02:00.0 0200: ffff:ffff")),
    );
    let function = &dump.snapshot.functions[&at("02:00.0")];
    assert_eq!(
        (function.identity.vendor, function.identity.device),
        (0x8086, 0x1565)
    );
    assert_eq!(
        function.sriov,
        crate::pci::SriovRole::Virtual {
            physical: at("01:00.0")
        }
    );
    assert_eq!(function.upstream, Some(at("00:01.0")));
    assert!(dump.missing_bridges.is_empty());
}

#[test]
fn bridges_that_lead_nowhere_or_to_themselves_are_above_nothing() {
    let mut text = String::new();
    for (address, secondary, subordinate) in [
        ("00:01.0", 0, 0),
        ("00:02.0", 0, 0xff),
        ("01:00.0", 2, 1),
        ("02:00.0", 1, 2),
        ("03:00.0", 3, 3),
        ("04:00.0", 0xff, 4),
    ] {
        let port = Bytes::new(4096, 0x1234, 1, 0x0604)
            .express(PcieType::RootPort)
            .bridge(secondary, subordinate);
        text += &port.lines(&format!("{address} 0604: 1234:0001"));
    }
    let dump = dump(&text);
    for function in dump.snapshot.functions.values() {
        let is_above = function
            .upstream
            .is_none_or(|above| above.bus() < function.address.bus());
        assert!(is_above, "{}", function.address);
    }
    assert_eq!(groups(&dump).concat().len(), 6);
}

#[test]
fn what_is_no_dump_is_refused_with_a_reason() {
    for (text, error) in [
        ("", DumpError::Empty),
        ("\n \r\n", DumpError::Empty),
        (
            "-[0000:00]-+-00.0\n           +-01.0\n",
            DumpError::OnlyTree,
        ),
        ("\u{fffd}PNG\r\n\u{1a}\n", DumpError::NotText),
        ("\u{7f}ELF\0\0", DumpError::NotText),
        (
            "Dear list,\nmy GPU 01:00.0 does not work\n",
            DumpError::NoDevices,
        ),
        ("0000:00:00.0\t0\n0000:00:01.0\t1\n", DumpError::NoDevices),
    ] {
        assert_eq!(parse_dump(text), Err(error), "{text:?}");
    }
}

#[test]
fn more_functions_than_a_domain_has_are_refused() {
    let mut text = String::new();
    for number in 0..=limits::FUNCTIONS {
        let (domain, rest) = (number >> 16, number & 0xffff);
        writeln!(
            text,
            "{domain:04x}:{:02x}:{:02x}.{} 0300: 10de:2684",
            rest >> 8,
            rest >> 3 & 0x1f,
            rest & 7
        )
        .unwrap();
    }
    assert_eq!(parse_dump(&text), Err(DumpError::TooManyFunctions));
}

#[test]
fn a_report_tells_what_no_register_does() {
    let text = format!(
        "# {REPORT_MARK}\n# kernel: 6.12.3\n# parameters: pcie_acs_override=downstream pci=noats\n\
         # tables: IVRS\n# honours pcie_acs_override: yes\n01:00.0 0300: 10de:2684\n"
    );
    let platform = dump(&text).platform();
    assert_eq!(platform.acs_override, AcsOverride::parse("downstream"));
    assert!(platform.has_ivrs);
    let unpatched = dump(&text.replace(": yes", ": no")).platform();
    assert!(unpatched.acs_override.is_empty());
}

/// Every prefix of a dump, and the dump with any one byte replaced: no panic, no endless loop.
#[test]
fn nothing_that_is_cut_or_broken_stops_the_reader() {
    let whole = machine(256, 0x1d) + PORT_WORDS;
    for end in 0..whole.len() {
        let _ = parse_dump(&whole[..end]);
    }
    for index in (0..whole.len()).step_by(7) {
        for other in ["f", ":", ".", " ", "\n", "[", "é", "+", "#"] {
            let text = format!("{}{other}{}", &whole[..index], &whole[index + 1..]);
            if let Ok(dump) = parse_dump(&text) {
                let _ = groups(&dump);
            }
        }
    }
}

/// Random bridges, random bytes, from a generator of its own so that it is the same everywhere.
#[test]
fn random_machines_are_read_and_grouped() {
    let mut state = 0x9e37_79b9_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..200 {
        let mut text = String::new();
        for _ in 0..random(12) + 1 {
            let len = [0, 16, 40, 64, 256, 272, 4096][usize::try_from(random(7)).unwrap()];
            let mut bytes = vec![0_u8; len];
            for byte in &mut bytes {
                *byte = u8::try_from(random(256)).unwrap();
            }
            if len >= 64 && random(2) == 0 {
                bytes[0x0e] = 1;
            }
            let address = format!("{:02x}:{:02x}.{}", random(8), random(4), random(8));
            text += &Bytes(bytes).lines(&format!("{address} 0604: 1234:0001"));
        }
        let dump = dump(&text);
        let count: usize = groups(&dump).iter().map(Vec::len).sum();
        assert!(count <= dump.snapshot.functions.len());
    }
}
