//! Kernel modules: `/proc/modules`, `/sys/module/`, and the lists in
//! `/usr/lib/modules/RELEASE/` that `depmod(8)` and the kernel's build leave there.
//!
//! `/proc/modules` has what is loaded; it is absent in a kernel without modules. `/sys/module/`
//! has what is loaded and those built in that have parameters or a version.

use std::collections::BTreeSet;

use vfioctl_core::Answer;
use vfioctl_core::check::{ModuleState, Modules};

use crate::SysRoot;

/// What is known of modules; a list is `None` where it could not be read.
struct Lists {
    loaded: Option<BTreeSet<String>>,
    shown: Option<BTreeSet<String>>,
    built_in: Option<BTreeSet<String>>,
    available: Option<BTreeSet<String>>,
}

pub(super) fn read_modules(root: &SysRoot, release: Option<&str>) -> Modules {
    let lists = Lists::read(root, release);
    Modules {
        vfio_pci: lists.state("vfio_pci"),
        vfio_iommu_type1: lists.state("vfio_iommu_type1"),
        iommufd: lists.state("iommufd"),
        kvm_intel: lists.state("kvm_intel"),
        kvm_amd: lists.state("kvm_amd"),
    }
}

impl Lists {
    fn read(root: &SysRoot, release: Option<&str>) -> Self {
        let on_disk = |file: &str| {
            let path = format!("lib/modules/{}/{file}", release?);
            root.usr.read_text(&path).ok().flatten()
        };
        let loaded = root.proc.read_text("modules").ok().flatten();
        Self {
            loaded: loaded.map(|text| first_words(&text)),
            shown: root
                .sys
                .list("module")
                .ok()
                .flatten()
                .map(BTreeSet::from_iter),
            built_in: on_disk("modules.builtin").map(|text| names_of_paths(&text)),
            available: on_disk("modules.dep").map(|text| names_of_paths(&text)),
        }
    }

    fn state(&self, name: &str) -> Answer<ModuleState> {
        let has = |list: &Option<BTreeSet<String>>| list.as_ref().map(|list| list.contains(name));
        match (
            has(&self.loaded),
            has(&self.shown),
            has(&self.built_in),
            has(&self.available),
        ) {
            (Some(true), ..) => Answer::Known(ModuleState::Loaded),
            (_, _, Some(true), _) => Answer::Known(ModuleState::BuiltIn),
            // Running, and the list of what is loaded, where there is one, does not have it.
            (_, Some(true), ..) => Answer::Known(ModuleState::BuiltIn),
            (Some(false), _, _, Some(true)) => Answer::Known(ModuleState::Available),
            (_, Some(false), _, Some(true)) => Answer::Known(ModuleState::Available),
            (_, Some(false), Some(false), Some(false)) => Answer::Known(ModuleState::Absent),
            _ => Answer::CannotSee,
        }
    }
}

/// `NAME SIZE USERS ...`, a module a line.
fn first_words(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// `kernel/drivers/vfio/pci/vfio-pci.ko.zst: kernel/...`, a module a line. Files are called with
/// `-` or `_`; the kernel says `_`.
fn names_of_paths(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| {
            let path = line.split(':').next()?;
            let file = path.rsplit('/').next()?;
            let name = file.split(".ko").next()?;
            Some(name.replace('-', "_"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Option<BTreeSet<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn names_come_out_of_paths() {
        let text = "kernel/drivers/vfio/pci/vfio-pci.ko.zst: kernel/drivers/vfio/vfio.ko.zst\n\
                    kernel/drivers/iommu/iommufd.ko:\n";
        assert_eq!(Some(names_of_paths(text)), list(&["vfio_pci", "iommufd"]));
    }

    #[test]
    fn each_place_is_told_apart() {
        let lists = Lists {
            loaded: list(&["a"]),
            shown: list(&["a", "b"]),
            built_in: list(&["c"]),
            available: list(&["a", "d"]),
        };
        let states = ["a", "b", "c", "d", "e"].map(|name| lists.state(name).known());
        assert_eq!(
            states,
            [
                Some(ModuleState::Loaded),
                Some(ModuleState::BuiltIn),
                Some(ModuleState::BuiltIn),
                Some(ModuleState::Available),
                Some(ModuleState::Absent),
            ]
        );
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_an_empty_one() {
        let lists = Lists {
            loaded: list(&[]),
            shown: list(&[]),
            built_in: None,
            available: list(&[]),
        };
        assert_eq!(lists.state("vfio_pci"), Answer::CannotSee);
    }
}
