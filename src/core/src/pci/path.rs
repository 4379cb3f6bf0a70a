//! Where a function sits, whatever its bus is called.
//!
//! Bus numbers are given anew at each boot, in the order in which bridges are found: a card that is
//! put in moves the addresses of others. What stays is the way from the root bus down: the device and
//! function number of each bridge are wired (PCI Express Base 6.0, section 2.2.6.2).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{PciAddress, PciFunction};

/// Longest way down: each bridge has a bus number of its own, and there are 256.
const MAX_HOPS: usize = 256;

/// Where a function sits: the root bus, each bridge on the way, the function itself, as
/// `pci0000:00/04.0/00.0`.
///
/// ```
/// use vfioctl_core::pci::PciPath;
///
/// let path: PciPath = "pci0000:00/04.0/00.0".parse()?;
/// assert_eq!(path.to_string(), "pci0000:00/04.0/00.0");
/// assert!("0000:01:00.0".parse::<PciPath>().is_err());
/// # Ok::<(), vfioctl_core::pci::InvalidPciPath>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciPath(String);

/// The text is no path of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPciPath;

impl PciPath {
    /// Finds where a function sits; `None` where one of the bridges above it was not seen, for then
    /// the way that is left would be that of another place.
    pub fn find(
        functions: &BTreeMap<PciAddress, PciFunction>,
        address: PciAddress,
    ) -> Option<Self> {
        let mut hops = Vec::new();
        let mut at = address;
        // Bounded, since parents form a ring on a broken or hostile input.
        for _ in 0..MAX_HOPS {
            let function = functions.get(&at)?;
            hops.push(format!("/{:02x}.{:x}", at.device(), at.function()));
            match function.upstream {
                Some(above) => at = above,
                None => {
                    hops.push(format!("pci{:04x}:{:02x}", at.domain(), at.bus()));
                    hops.reverse();
                    return Some(Self(hops.concat()));
                }
            }
        }
        None
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PciPath {
    type Err = InvalidPciPath;

    fn from_str(text: &str) -> Result<Self, InvalidPciPath> {
        let mut parts = text.split('/');
        let root = parts.next().and_then(|root| root.strip_prefix("pci"));
        // An address is made of the same numbers: `0000:00` and `04.0`.
        let is_address = |bus: &str, hop: &str| {
            let address: Option<PciAddress> = format!("{bus}:{hop}").parse().ok();
            address.is_some_and(|address| address.to_string() == format!("{bus}:{hop}"))
        };
        let root = root
            .filter(|root| is_address(root, "00.0"))
            .ok_or(InvalidPciPath)?;
        let hops: Vec<&str> = parts.collect();
        let is_path = (1..=MAX_HOPS).contains(&hops.len())
            && hops.into_iter().all(|hop| is_address(root, hop));
        is_path.then(|| Self(text.to_owned())).ok_or(InvalidPciPath)
    }
}

impl fmt::Display for PciPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for InvalidPciPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path has the form 'pci0000:00/04.0/00.0'")
    }
}

impl std::error::Error for InvalidPciPath {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iommu::sample::{at, function};

    type Functions = BTreeMap<PciAddress, PciFunction>;

    fn machine(functions: &[(&str, Option<&str>)]) -> Functions {
        let functions = functions.iter().map(|(address, upstream)| {
            let function = function(address, *upstream, None, None, false);
            (function.address, function)
        });
        functions.collect()
    }

    /// A card behind a switch, with the first bus called `bus`.
    fn behind_switch(bus: u8) -> (Functions, PciAddress) {
        let (upstream, port, card) = (
            format!("{bus:02x}:00.0"),
            format!("{:02x}:08.0", bus + 1),
            format!("{:02x}:00.1", bus + 2),
        );
        let functions = machine(&[
            ("00:01.1", None),
            (&upstream, Some("00:01.1")),
            (&port, Some(&upstream)),
            (&card, Some(&port)),
        ]);
        (functions, at(&card))
    }

    #[test]
    fn a_path_is_the_same_whatever_buses_are_called() {
        for bus in [1, 0x40, 0xf0] {
            let (functions, card) = behind_switch(bus);
            let path = PciPath::find(&functions, card).map(|path| path.to_string());
            assert_eq!(path.as_deref(), Some("pci0000:00/01.1/00.0/08.0/00.1"));
        }
    }

    #[test]
    fn every_path_that_is_found_is_read_back_as_itself() {
        let (functions, _) = behind_switch(3);
        for address in functions.keys() {
            let path = PciPath::find(&functions, *address).unwrap();
            assert_eq!(path.as_str().parse(), Ok(path));
        }
    }

    #[test]
    fn a_function_on_a_root_bus_has_its_own_number_alone() {
        let functions = machine(&[("c1:02.0", None)]);
        let path = PciPath::find(&functions, at("c1:02.0")).map(|path| path.to_string());
        assert_eq!(path.as_deref(), Some("pci0000:c1/02.0"));
    }

    #[test]
    fn a_way_that_is_not_seen_whole_is_no_way() {
        let (mut functions, card) = behind_switch(3);
        functions.remove(&at("03:00.0"));
        assert_eq!(PciPath::find(&functions, card), None);
        assert_eq!(PciPath::find(&functions, at("7f:00.0")), None);
        // Parents in a ring.
        let (mut functions, card) = behind_switch(3);
        functions.get_mut(&at("00:01.1")).unwrap().upstream = Some(card);
        assert_eq!(PciPath::find(&functions, card), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "pci",
            "pci0000:00",
            "pci0000:00/",
            "pci0000:00/4.0",
            "pci0000:00/04.0/",
            "pci0000:00/04.8",
            "pci0000:00/20.0",
            "pci0000:00/04.0/../00.0",
            "pci00:00/04.0",
            "pci0000:0x/04.0",
            "0000:00/04.0",
            " pci0000:00/04.0",
        ] {
            assert_eq!(text.parse::<PciPath>(), Err(InvalidPciPath), "{text:?}");
        }
    }
}
