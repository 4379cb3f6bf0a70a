//! The text of a `pci.ids` file.
//!
//! Vendors stand at the start of a line, devices behind one tab, subsystems behind two; classes
//! begin with `C`. <https://pci-ids.ucw.cz/>

use std::collections::BTreeMap;
use std::ops::Range;

use vfioctl_core::pci::{ClassCode, Identity};

/// The text of a `pci.ids` file, with the place of each vendor and class in it.
#[derive(Debug)]
pub(super) struct IdsFile {
    text: String,
    date: String,
    vendors: BTreeMap<u16, Range<usize>>,
    classes: BTreeMap<u8, Range<usize>>,
}

impl IdsFile {
    /// Goes through the text once. Lines that are not understood are passed over.
    pub(super) fn new(text: String) -> Self {
        let mut file = Self {
            date: String::new(),
            vendors: BTreeMap::new(),
            classes: BTreeMap::new(),
            text,
        };
        let mut heads: Vec<(usize, Head)> = Vec::new();
        let mut at = 0;
        for line in file.text.split_inclusive('\n') {
            if let Some(comment) = line.strip_prefix('#') {
                if let Some(date) = comment.trim().strip_prefix("Date:") {
                    file.date = date
                        .split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                }
            } else if !line.starts_with('\t') {
                heads.extend(Head::of(line).map(|head| (at, head)));
            }
            at += line.len();
        }
        let ends = heads.iter().skip(1).map(|(start, _)| *start).chain([at]);
        for ((start, head), end) in heads.iter().zip(ends) {
            match head {
                Head::Vendor(id) => {
                    file.vendors.entry(*id).or_insert(*start..end);
                }
                Head::Class(id) => {
                    file.classes.entry(*id).or_insert(*start..end);
                }
                Head::Other => {}
            }
        }
        file
    }

    /// The day of the file, `2025-07-11`; empty where it does not say.
    pub(super) fn date(&self) -> &str {
        &self.date
    }

    pub(super) fn vendor(&self, vendor: u16) -> Option<&str> {
        name_behind(
            self.block(&self.vendors, vendor)?.lines().next()?,
            &format!("{vendor:04x}"),
        )
    }

    pub(super) fn device(&self, identity: Identity) -> Option<&str> {
        let key = format!("\t{:04x}", identity.device);
        let block = self.block(&self.vendors, identity.vendor)?;
        block.lines().find_map(|line| name_behind(line, &key))
    }

    pub(super) fn subsystem(&self, identity: Identity) -> Option<&str> {
        let device = format!("\t{:04x}", identity.device);
        let key = format!(
            "\t\t{:04x} {:04x}",
            identity.subsystem_vendor, identity.subsystem_device
        );
        let block = self.block(&self.vendors, identity.vendor)?;
        block
            .lines()
            .skip_while(|line| name_behind(line, &device).is_none())
            .skip(1)
            .take_while(|line| line.starts_with("\t\t") || line.starts_with('#'))
            .find_map(|line| name_behind(line, &key))
    }

    pub(super) fn class(&self, class: ClassCode) -> Option<&str> {
        let block = self.block(&self.classes, class.base())?;
        let subclass = format!("\t{:02x}", class.subclass());
        block
            .lines()
            .find_map(|line| name_behind(line, &subclass))
            .or_else(|| name_behind(block.lines().next()?, &format!("C {:02x}", class.base())))
    }

    fn block<K: Ord>(&self, blocks: &BTreeMap<K, Range<usize>>, key: K) -> Option<&str> {
        self.text.get(blocks.get(&key)?.clone())
    }
}

/// What a line at the left margin begins.
enum Head {
    Vendor(u16),
    Class(u8),
    Other,
}

impl Head {
    fn of(line: &str) -> Option<Self> {
        let (key, rest) = line.split_once(' ')?;
        if key == "C" {
            let class = rest.split(' ').next()?;
            return Some(u8::from_str_radix(class, 16).map_or(Self::Other, Self::Class));
        }
        // Lists of other kinds have a letter and a space, too; they end the block before them.
        let is_vendor = key.len() == 4;
        let id = u16::from_str_radix(key, 16).ok().filter(|_| is_vendor);
        Some(id.map_or(Self::Other, Self::Vendor))
    }
}

fn name_behind<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let name = line.strip_prefix(key)?.strip_prefix("  ")?.trim();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
#\tVersion: 2023.04.10
#\tDate:    2023-04-10 03:15:02
10de  NVIDIA Corporation
\t2684  AD102
\t\t1043 88b2  ROG
# a comment in between
\t\t1043 88b3  TUF
\t2685  AD102 two
\t\t1043 88b2  wrong
1af4  Red Hat
C 03  Display controller
\t00  VGA compatible controller
\t\t00  VGA controller
C 12  Processing accelerators
";

    fn identity(device: u16, subsystem: u16) -> Identity {
        Identity {
            vendor: 0x10de,
            device,
            subsystem_vendor: 0x1043,
            subsystem_device: subsystem,
        }
    }

    #[test]
    fn every_kind_of_name_is_found_in_its_block() {
        let file = IdsFile::new(TEXT.to_owned());
        assert_eq!(file.date(), "2023-04-10");
        assert_eq!(file.vendor(0x1af4), Some("Red Hat"));
        assert_eq!(file.vendor(0x8086), None);
        assert_eq!(file.device(identity(0x2685, 0)), Some("AD102 two"));
        assert_eq!(file.subsystem(identity(0x2684, 0x88b3)), Some("TUF"));
        assert_eq!(file.subsystem(identity(0x2685, 0x88b3)), None);
        let class = |code| ClassCode::new(code).and_then(|class| file.class(class));
        assert_eq!(class(0x03_0000), Some("VGA compatible controller"));
        assert_eq!(class(0x12_0000), Some("Processing accelerators"));
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in [
            "",
            "\t",
            "C",
            "C \n",
            "10de",
            "ä  b\n\tx",
            "#Date:",
            "10de  \n\t  \n",
        ] {
            let file = IdsFile::new(text.to_owned());
            assert_eq!(file.device(identity(1, 2)), None, "{text:?}");
        }
    }
}
