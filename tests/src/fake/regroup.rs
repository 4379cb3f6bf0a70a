//! The kernel: what ACS writes, `remove` and `rescan` do to a machine in a folder.
//!
//! Which group a function joins when it is found again is core's own simulation of Linux; that it
//! is Linux's, the differential test proves in the lab.

use std::collections::BTreeMap;
use std::path::PathBuf;

use vfioctl_core::Answer;
use vfioctl_core::acs::Platform;
use vfioctl_core::config::{ConfigSpace, ReadConfig as _};
use vfioctl_core::iommu::{Simulation, Topology};
use vfioctl_core::pci::{GroupId, PciAddress};
use vfioctl_scan::{HostView, SysRoot, read_snapshot};

use super::FakeKernel;
use super::folder::{lines, link, remove, write};

/// Stands for "some group" until it is known which; no machine has so many.
const SOME_GROUP: GroupId = GroupId(1_000_000);

impl FakeKernel {
    /// Writes the control register, as `setpci ECAP_ACS+6.w=` does.
    ///
    /// # Errors
    /// The error number that Linux answers with.
    pub fn set_acs(&self, address: &str, from: u16, to: u16) -> Result<(), i32> {
        let path = self
            .machine()
            .device(address)
            .ok_or(libc::ENODEV)?
            .join("config");
        let mut bytes = std::fs::read(&path).unwrap();
        let found = ConfigSpace::new(bytes.clone()).find_acs();
        let Answer::Known(Some(registers)) = found else {
            return Err(libc::ENODEV);
        };
        if registers.acs.control() != from {
            return Err(libc::ESTALE);
        }
        let at = registers.control_at;
        bytes[at..at + 2].copy_from_slice(&to.to_le_bytes());
        write(&path, bytes);
        Ok(())
    }

    /// `echo auto > devices/ADDRESS/power/control`.
    ///
    /// # Errors
    /// The error number that Linux answers with.
    pub fn set_power(&self, address: &str, text: &str) -> Result<(), i32> {
        let device = self.machine().device(address).ok_or(libc::ENOENT)?;
        write(&device.join("power/control"), format!("{text}\n"));
        Ok(())
    }

    /// `echo 1 > devices/ADDRESS/remove`.
    ///
    /// # Errors
    /// The error number that Linux answers with.
    pub fn remove(&self, address: &str) -> Result<(), i32> {
        let folder = self.machine().device(address).ok_or(libc::ENOENT)?;
        let mut below: Vec<(PathBuf, String)> = self
            .addresses()
            .into_iter()
            .filter_map(|at| Some((self.machine().device(&at)?, at)))
            .filter(|(path, _)| path.starts_with(&folder))
            .collect();
        // Children first.
        below.sort();
        for (path, gone) in below.iter().rev() {
            if let Some(driver) = self.machine().link_name(gone, "driver") {
                self.unbind(&driver, gone)?;
            }
            let group = self.machine().link_name(gone, "iommu_group");
            if let Some(group) = &group {
                self.leave_group(group, gone);
                remove(&path.join("iommu_group"));
            }
            let root = std::fs::canonicalize(self.machine().folder()).unwrap();
            let place = path.strip_prefix(root.join("sys/devices")).unwrap();
            let note = format!("{} {}", place.display(), u8::from(group.is_some()));
            write(&self.note(gone), note);
            remove(
                &self
                    .machine()
                    .folder()
                    .join("sys/bus/pci/devices")
                    .join(gone),
            );
        }
        for (path, gone) in below.iter().rev() {
            let kept = self.kept(gone);
            std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
            std::fs::rename(path, kept).unwrap();
        }
        Ok(())
    }

    /// `echo 1 > devices/BRIDGE/pci_bus/BUS/rescan`.
    ///
    /// # Errors
    /// The error number that Linux answers with.
    pub fn rescan(&self, bridge: &str) -> Result<(), i32> {
        let below = self.machine().device(bridge).ok_or(libc::ENODEV)?;
        let root = std::fs::canonicalize(self.machine().folder()).unwrap();
        let devices = root.join("sys/devices");
        let mut missing: Vec<(PathBuf, String, bool)> = Vec::new();
        for entry in std::fs::read_dir(self.note("")).into_iter().flatten() {
            let gone = entry.unwrap().file_name().to_string_lossy().into_owned();
            let note = lines(&self.note(&gone)).concat();
            let (place, covered) = note.split_once(' ').unwrap();
            let place = devices.join(place);
            if place.starts_with(&below) {
                missing.push((place, gone, covered == "1"));
            }
        }
        // A bus first, then what is below its bridges.
        missing.sort_by_key(|(path, gone, _)| (path.components().count(), gone.clone()));
        for (place, gone, _) in &missing {
            std::fs::rename(self.kept(gone), place).unwrap();
            let target = place.strip_prefix(root.join("sys")).unwrap();
            let devices = self.machine().folder().join("sys/bus/pci/devices");
            link(
                &format!("../../../{}", target.display()),
                &devices.join(gone),
            );
            write(&place.join("driver_override"), "(null)\n");
            remove(&self.note(gone));
        }
        self.join_groups(&missing);
        for (_, gone, _) in &missing {
            self.bind_native(gone);
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<String> {
        let folder = self.machine().folder().join("sys/bus/pci/devices");
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Where a function that was removed had been, and whether an IOMMU covers it.
    fn note(&self, address: &str) -> PathBuf {
        self.machine().folder().join("kernel/removed").join(address)
    }

    /// Its folder meanwhile.
    fn kept(&self, address: &str) -> PathBuf {
        self.machine().folder().join("kernel/kept").join(address)
    }

    /// A group ends with its last member.
    fn leave_group(&self, group: &str, address: &str) {
        let folder = self
            .machine()
            .folder()
            .join("sys/kernel/iommu_groups")
            .join(group);
        remove(&folder.join("devices").join(address));
        if self.machine().members(group).is_empty() {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    fn join_groups(&self, found: &[(PathBuf, String, bool)]) {
        let root = SysRoot::below(self.machine().folder()).unwrap();
        let mut snapshot = read_snapshot(&root, HostView::BestEffort).unwrap();
        let mut numbers: BTreeMap<PciAddress, GroupId> = snapshot
            .functions
            .values()
            .filter_map(|function| Some((function.address, function.iommu_group?)))
            .collect();
        for (_, address, is_covered) in found {
            let at: PciAddress = address.parse().unwrap();
            let function = snapshot.functions.get_mut(&at).unwrap();
            function.iommu_group = is_covered.then_some(SOME_GROUP);
        }
        let topology = Topology::of(&snapshot);
        let platform = Platform::default();
        let mut kernel = Simulation::of_kernel(&topology, &platform);
        for (_, address, _) in found {
            kernel.remove(address.parse().unwrap());
        }
        kernel.rescan(None);
        let groups = kernel.groups();
        for (path, address, is_covered) in found {
            if !is_covered {
                continue;
            }
            let at: PciAddress = address.parse().unwrap();
            let members = groups.iter().find(|group| group.contains(&at)).unwrap();
            let known = members
                .iter()
                .find_map(|member| numbers.get(member))
                .copied();
            let number = known.unwrap_or_else(|| {
                let is_free = |number: &u32| numbers.values().all(|taken| taken.0 != *number);
                GroupId((0..).find(is_free).unwrap())
            });
            numbers.insert(at, number);
            let top = std::fs::canonicalize(self.machine().folder()).unwrap();
            let path = path.strip_prefix(top).unwrap().display().to_string();
            self.machine().join_group(number.0, address, &path);
        }
    }

    /// `device_attach`: the driver that knows the device takes it.
    fn bind_native(&self, address: &str) {
        let folder = self.machine().folder().join("sys/bus/pci/drivers");
        let mut drivers: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        drivers.sort();
        for driver in drivers {
            if self.is_matched(&driver, address) {
                let _unmatched_otherwise = self.bind(&driver, address);
            }
        }
    }
}
