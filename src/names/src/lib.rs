//! Names of vendors, devices, subsystems and classes.
//!
//! The database that is compiled in comes first and the machine's own `pci.ids` answers what it
//! does not know; where the machine's file is the newer one, it is the other way round.
//! <https://pci-ids.ucw.cz/>
//!
//! The database is some 3 MB of the program that links this crate, which is why the helper does not.
#![forbid(unsafe_code)]

mod by_name;
mod ids_file;

use std::borrow::Cow;

use pci_ids::FromId as _;
use vfioctl_core::pci::{ClassCode, Identity, PciFunction};
use vfioctl_scan::SysRoot;

use ids_file::IdsFile;

/// The day of the database in pci-ids 0.2.6, as its `pci.ids` has it.
const BUILT_IN_DATE: &str = "2025-07-11";

/// Where distributions put the file, below `/usr`.
const SYSTEM_FILES: [&str; 2] = ["share/misc/pci.ids", "share/hwdata/pci.ids"];

/// Names of vendors, devices, subsystems and classes.
#[derive(Debug, Default)]
pub struct Names {
    system: Option<IdsFile>,
}

/// A name, where there is one.
pub type Name<'a> = Option<Cow<'a, str>>;

impl Names {
    /// Takes the machine's own file beside the built-in names; where it cannot be read, the
    /// built-in ones serve alone.
    pub fn read(root: &SysRoot) -> Self {
        let system = SYSTEM_FILES
            .iter()
            .filter_map(|path| root.usr.read_text(path).ok().flatten())
            .map(IdsFile::new)
            .max_by(|one, other| one.date().cmp(other.date()));
        Self { system }
    }

    /// The vendor's name.
    pub fn vendor(&self, identity: Identity) -> Name<'_> {
        let built_in = || pci_ids::Vendor::from_id(identity.vendor).map(pci_ids::Vendor::name);
        self.first(built_in, |file| file.vendor(identity.vendor))
    }

    /// The device's name.
    pub fn device(&self, identity: Identity) -> Name<'_> {
        let built_in = || {
            pci_ids::Device::from_vid_pid(identity.vendor, identity.device)
                .map(pci_ids::Device::name)
        };
        self.first(built_in, |file| file.device(identity))
    }

    /// The subsystem's name; few have one.
    pub fn subsystem(&self, identity: Identity) -> Name<'_> {
        let wanted = (identity.subsystem_vendor, identity.subsystem_device);
        let built_in = || {
            pci_ids::Device::from_vid_pid(identity.vendor, identity.device)?
                .subsystems()
                .find(|subsystem| (subsystem.subvendor(), subsystem.subdevice()) == wanted)
                .map(pci_ids::SubSystem::name)
        };
        self.first(built_in, |file| file.subsystem(identity))
    }

    /// The name of the subclass, or of the class where the subclass has none.
    pub fn class(&self, class: ClassCode) -> Name<'_> {
        let built_in = || {
            pci_ids::Subclass::from_cid_sid(class.base(), class.subclass())
                .map(pci_ids::Subclass::name)
                .or_else(|| pci_ids::Class::from_id(class.base()).map(pci_ids::Class::name))
        };
        self.first(built_in, |file| file.class(class))
    }

    /// Vendor and device of a function on one line; see [`Self::of`].
    pub fn line(&self, function: &PciFunction) -> String {
        self.of(function.identity)
    }

    /// Vendor and device on one line, the vendor as people call it; numbers where there is no
    /// name.
    pub fn of(&self, identity: Identity) -> String {
        let vendor = match self.vendor(identity) {
            Some(name) => short_vendor(&name).to_owned(),
            None => format!("vendor {:04x}", identity.vendor),
        };
        match self.device(identity) {
            Some(name) => format!("{vendor} {name}"),
            None => format!("{vendor} device {:04x}", identity.device),
        }
    }

    fn first<'a>(
        &'a self,
        built_in: impl Fn() -> Option<&'static str>,
        of_file: impl Fn(&'a IdsFile) -> Option<&'a str>,
    ) -> Name<'a> {
        let built_in = || -> Option<&'a str> { built_in() };
        let of_file = || self.system.as_ref().and_then(&of_file);
        let is_newer = self
            .system
            .as_ref()
            .is_some_and(|file| file.date() > BUILT_IN_DATE);
        let name = if is_newer {
            of_file().or_else(built_in)
        } else {
            built_in().or_else(of_file)
        };
        name.map(Cow::Borrowed)
    }
}

/// What is left of a company's name in talk: `Advanced Micro Devices, Inc. [AMD/ATI]` is
/// `AMD/ATI`, `NVIDIA Corporation` is `NVIDIA`.
fn short_vendor(name: &str) -> &str {
    if let Some((_, rest)) = name.rsplit_once('[')
        && let Some(short) = rest.strip_suffix(']').filter(|short| !short.is_empty())
    {
        return short;
    }
    let mut short = name;
    // Several can follow each other: `Co., Ltd.`.
    for _ in 0..4 {
        let end = [
            "Corporation",
            "Corp.",
            "Corp",
            "Incorporated",
            "Inc.",
            "Inc",
            "Company",
            "Co.",
            "Co",
            "Ltd.",
            "Ltd",
            "Limited",
            "LLC",
            "GmbH",
            "AG",
            "S.A.",
            "B.V.",
        ]
        .iter()
        .find_map(|end| short.strip_suffix(end))
        .filter(|rest| rest.ends_with([' ', ',']));
        match end {
            Some(rest) => short = rest.trim_end_matches([' ', ',']),
            None => break,
        }
    }
    if short.is_empty() { name } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(vendor: u16, device: u16) -> Identity {
        Identity {
            vendor,
            device,
            subsystem_vendor: 0,
            subsystem_device: 0,
        }
    }

    fn with_file(date: &str) -> Names {
        let text = format!(
            "#\tDate:    {date} 03:15:02\n10de  Other\n\t2684  Other Card\n\tfffe  New Card\n"
        );
        Names {
            system: Some(IdsFile::new(text)),
        }
    }

    #[test]
    fn an_older_file_only_answers_what_is_not_built_in() {
        let names = with_file("2023-04-10");
        assert_eq!(
            names.device(identity(0x10de, 0x2684)).as_deref(),
            Some("AD102 [GeForce RTX 4090]")
        );
        assert_eq!(
            names.device(identity(0x10de, 0xfffe)).as_deref(),
            Some("New Card")
        );
    }

    #[test]
    fn a_newer_file_comes_first() {
        let names = with_file("2026-01-01");
        assert_eq!(
            names.device(identity(0x10de, 0x2684)).as_deref(),
            Some("Other Card")
        );
        assert_eq!(names.vendor(identity(0x1002, 1)).map(|_| ()), Some(()));
    }

    #[test]
    fn vendors_are_called_what_people_call_them() {
        for (name, short) in [
            ("NVIDIA Corporation", "NVIDIA"),
            ("Advanced Micro Devices, Inc. [AMD/ATI]", "AMD/ATI"),
            ("Realtek Semiconductor Co., Ltd.", "Realtek Semiconductor"),
            ("Red Hat, Inc.", "Red Hat"),
            ("Inc.", "Inc."),
            ("Marco", "Marco"),
        ] {
            assert_eq!(short_vendor(name), short);
        }
    }
}
