//! Any text as what people and kernel command lines say about ACS, and as an address: what is
//! understood reads the same when it is printed, and no bit is written that is not offered.

use vfioctl_core::acs::{Acs, AcsChange, AcsOverride, AcsParameters};
use vfioctl_core::check::CommandLine;
use vfioctl_core::pci::{DriverName, Identity, PciAddress};

/// A kernel command line ends here.
const MAX_BYTES: usize = 4096;

/// The first eight bytes are registers and an identity; the rest is the text.
pub(crate) fn run(bytes: &[u8]) {
    let Some((numbers, text)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let Some(text) = text.get(..text.len().min(MAX_BYTES)) else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    let [a, b, c, d, e, f, g, h] = *numbers;
    let acs = Acs::new(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    let identity = Identity {
        vendor: u16::from_le_bytes([e, f]),
        device: u16::from_le_bytes([g, h]),
        subsystem_vendor: 0,
        subsystem_device: 0,
    };
    change(&text, acs);
    names(&text);
    let (release, line) = text.split_once('\n').unwrap_or(("6.12.0", &text));
    parameters(release, line, acs, identity);
    AcsOverride::parse(&text);
}

fn change(text: &str, acs: Acs) {
    match text.parse::<AcsChange>() {
        Ok(change) => {
            assert_eq!(change.to_string().parse(), Ok(change));
            assert_eq!(change.bits_to_set() & change.bits_to_clear(), 0);
            if let Ok(control) = change.apply(acs) {
                assert_eq!(control & change.bits_to_clear(), 0);
                assert_eq!(control & change.bits_to_set(), change.bits_to_set());
                assert_eq!(control & !acs.capability() & !acs.control(), 0);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn names(text: &str) {
    for word in text.split_whitespace().take(64) {
        match word.parse::<PciAddress>() {
            Ok(address) => assert_eq!(address.to_string().parse(), Ok(address)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if let Ok(name) = word.parse::<DriverName>() {
            assert_eq!(name.as_str(), word);
        }
    }
}

fn parameters(release: &str, line: &str, acs: Acs, identity: Identity) {
    let line = CommandLine::new(line);
    let asserted = line.value("pcie_acs_override").map(AcsOverride::parse);
    assert!(asserted.is_none() || line.words().count() > 0);
    let parameters = AcsParameters::parse(line.values("pci"), release);
    let paths = ["0000:00:01.0", "0000:01:00.0", "0000:02:00.1"].map(str::parse);
    let path: Vec<PciAddress> = paths.into_iter().rev().flatten().collect();
    for path in [path.as_slice(), &[]] {
        let written = [
            parameters.control_when_added(acs, identity, path),
            parameters.control_at_boot(acs, identity, path),
        ];
        for control in written {
            assert_eq!(control & !acs.capability(), 0, "a bit that is not offered");
        }
        parameters.weakens(acs, identity, path);
    }
}
