//! The kernel: what `bind`, `unbind` and `driver_override` do to a machine in a folder.
//!
//! Linux 6.1: `drivers/base/bus.c`, `drivers/pci/pci-driver.c`, `drivers/vfio/`,
//! `drivers/iommu/iommu.c` (`iommu_device_use_default_domain`).

use std::collections::BTreeSet;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vfioctl_core::pci::{GroupId, PciAddress};
use vfioctl_core::plan::Step;
use vfioctl_helper::kernel::{Kernel, WriteError};

use super::folder::{lines, link, remove, set_mode, write};
use super::{Fault, Faults, Machine};

/// The kernel of a machine in a folder.
#[derive(Debug)]
pub struct FakeKernel {
    machine: Machine,
    faults: Faults,
    /// The functions whose write this process has left behind, as the live implementation keeps
    /// its children: another process does not know of them.
    left_behind: Mutex<BTreeSet<PciAddress>>,
}

impl FakeKernel {
    /// The kernel of that machine.
    pub fn of(machine: &Machine) -> Self {
        Self {
            machine: machine.clone(),
            faults: Faults::of(machine.folder()),
            left_behind: Mutex::default(),
        }
    }

    /// What it is told to do wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// `echo TEXT > devices/ADDRESS/driver_override`; an empty text clears it.
    ///
    /// # Errors
    /// The error number that Linux answers with.
    pub fn set_override(&self, address: &str, text: &str) -> Result<(), i32> {
        let device = self.machine.device(address).ok_or(libc::ENOENT)?;
        // An override that is not set reads as "(null)".
        let shown = if text.is_empty() { "(null)" } else { text };
        write(&device.join("driver_override"), format!("{shown}\n"));
        Ok(())
    }

    /// `echo ADDRESS > drivers/DRIVER/unbind`.
    ///
    /// # Errors
    /// The error number that Linux answers with.
    pub fn unbind(&self, driver: &str, address: &str) -> Result<(), i32> {
        self.driver_folder(driver)?;
        if self.machine.link_name(address, "driver").as_deref() != Some(driver) {
            return Err(libc::ENODEV);
        }
        let device = self.machine.device(address).ok_or(libc::ENODEV)?;
        remove(&device.join("driver"));
        remove(&self.driver_folder(driver)?.join(address));
        self.write_uevent(address, None);
        let _ = std::fs::remove_dir_all(device.join("drm"));
        if is_vfio(driver) {
            self.drop_node_of(address);
        }
        Ok(())
    }

    /// `echo ADDRESS > drivers/DRIVER/bind`.
    ///
    /// # Errors
    /// The error number that Linux answers with.
    pub fn bind(&self, driver: &str, address: &str) -> Result<(), i32> {
        let folder = self.driver_folder(driver)?;
        let device = self.machine.device(address).ok_or(libc::ENODEV)?;
        if !self.is_matched(driver, address) {
            return Err(libc::ENODEV);
        }
        if self.machine.link_name(address, "driver").is_some() {
            return Err(libc::EBUSY);
        }
        let group = self.machine.link_name(address, "iommu_group");
        if is_vfio(driver) {
            if group.is_none() || self.is_bridge(address) {
                return Err(libc::EINVAL);
            }
        } else if !self.knows(driver, "driver_managed_dma") && self.is_in_use(group.as_deref()) {
            return Err(libc::EBUSY);
        }
        let root = std::fs::canonicalize(self.machine.folder()).unwrap();
        let path = device.strip_prefix(root.join("sys")).unwrap();
        let up = "../".repeat(path.components().count());
        link(
            &format!("{up}bus/pci/drivers/{driver}"),
            &device.join("driver"),
        );
        link(
            &format!("../../../../{}", path.display()),
            &folder.join(address),
        );
        self.write_uevent(address, Some(driver));
        if is_vfio(driver) {
            self.make_node(group.as_deref().unwrap_or_default());
        } else if let Some(card) = lines(&self.kernel(&format!("cards/{address}"))).first() {
            std::fs::create_dir_all(device.join(format!("drm/card{card}"))).unwrap();
        }
        Ok(())
    }

    /// Lets a program open a group: from then on its other members cannot get a native driver.
    pub fn open_group(&self, group: u32) {
        write(&self.kernel(&format!("open/{group}")), "");
    }

    /// Lets the program close it.
    pub fn close_group(&self, group: u32) {
        remove(&self.kernel(&format!("open/{group}")));
    }

    /// Lets every write that hangs take effect, in the order in which they were made. What Linux
    /// would then answer, nobody hears.
    pub fn land(&self) {
        let path = self.kernel("hanging");
        for line in lines(&path) {
            let words: Vec<&str> = line.split(' ').collect();
            let _unheard = match words.as_slice() {
                ["override", address, text] => self.set_override(address, text),
                ["unbind", address, driver] => self.unbind(driver, address),
                ["bind", address, driver] => self.bind(driver, address),
                ["acs", address, from, to] => {
                    self.set_acs(address, from.parse().unwrap(), to.parse().unwrap())
                }
                ["power", address, text] => self.set_power(address, text),
                ["remove", address] => self.remove(address),
                ["rescan", bridge] => self.rescan(bridge),
                other => panic!("{other:?}"),
            };
        }
        remove(&path);
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    fn kernel(&self, path: &str) -> PathBuf {
        self.machine.folder().join("kernel").join(path)
    }

    fn driver_folder(&self, driver: &str) -> Result<PathBuf, i32> {
        let folder = self
            .machine
            .folder()
            .join("sys/bus/pci/drivers")
            .join(driver);
        match folder.exists() {
            true => Ok(folder),
            false => Err(libc::ENOENT),
        }
    }

    fn knows(&self, driver: &str, line: &str) -> bool {
        lines(&self.kernel(&format!("drivers/{driver}")))
            .iter()
            .any(|known| known == line)
    }

    /// `pci_match_device`: an override decides alone, whatever the id table says.
    pub(super) fn is_matched(&self, driver: &str, address: &str) -> bool {
        let device = self.machine.device(address).unwrap();
        let override_now = std::fs::read_to_string(device.join("driver_override")).unwrap();
        match override_now.trim_end() {
            "(null)" => {
                let uevent = lines(&device.join("uevent"));
                let id = uevent.iter().find_map(|line| line.strip_prefix("PCI_ID="));
                self.knows(driver, &format!("id {}", id.unwrap().to_lowercase()))
            }
            name => name == driver,
        }
    }

    fn is_bridge(&self, address: &str) -> bool {
        let config = std::fs::read(self.machine.device(address).unwrap().join("config")).unwrap();
        config[0x0e] & 0x7f == 1
    }

    fn is_in_use(&self, group: Option<&str>) -> bool {
        group.is_some_and(|group| self.kernel(&format!("open/{group}")).exists())
    }

    fn write_uevent(&self, address: &str, driver: Option<&str>) {
        let path = self.machine.device(address).unwrap().join("uevent");
        let mut text: Vec<String> = driver
            .map(|name| format!("DRIVER={name}"))
            .into_iter()
            .collect();
        text.extend(
            lines(&path)
                .into_iter()
                .filter(|line| !line.starts_with("DRIVER=")),
        );
        write(&path, text.join("\n") + "\n");
    }

    fn node(&self, group: &str) -> PathBuf {
        self.machine.folder().join("dev/vfio").join(group)
    }

    /// With the first member of a group on VFIO: root's alone.
    fn make_node(&self, group: &str) {
        let node = self.node(group);
        if !node.exists() {
            write(&node, "");
            set_mode(&node, 0o600);
        }
    }

    /// With the last one.
    fn drop_node_of(&self, address: &str) {
        let Some(group) = self.machine.link_name(address, "iommu_group") else {
            return;
        };
        let members = self.machine.members(&group);
        let is_used = members.iter().any(|member| {
            let driver = self.machine.link_name(member, "driver");
            driver.as_deref().is_some_and(is_vfio)
        });
        if !is_used {
            remove(&self.node(&group));
        }
    }

    fn left_behind(&self) -> MutexGuard<'_, BTreeSet<PciAddress>> {
        self.left_behind
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn do_step(&self, step: &Step) -> Result<(), i32> {
        let address = step.address().to_string();
        match step {
            Step::SetOverride { to, .. } => {
                self.set_override(&address, to.as_deref().unwrap_or_default())
            }
            Step::Unbind { driver, .. } => self.unbind(driver.as_str(), &address),
            Step::Bind { driver, .. } => self.bind(driver.as_str(), &address),
            Step::SetAcs { from, to, .. } => self.set_acs(&address, *from, *to),
            Step::SetPower { to, .. } => self.set_power(&address, to.as_str()),
            Step::Remove { .. } => self.remove(&address),
            Step::Rescan { .. } => self.rescan(&address),
        }
    }

    /// A write that waits for the device lock.
    fn hang(&self, step: &Step) {
        let address = step.address();
        let line = match step {
            Step::SetOverride { to, .. } => {
                format!("override {address} {}", to.as_deref().unwrap_or_default())
            }
            Step::Unbind { driver, .. } => format!("unbind {address} {driver}"),
            Step::Bind { driver, .. } => format!("bind {address} {driver}"),
            Step::SetAcs { from, to, .. } => format!("acs {address} {from} {to}"),
            Step::SetPower { to, .. } => format!("power {address} {}", to.as_str()),
            Step::Remove { .. } => format!("remove {address}"),
            Step::Rescan { .. } => format!("rescan {address}"),
        };
        let mut all = lines(&self.kernel("hanging"));
        all.push(line);
        write(&self.kernel("hanging"), all.join("\n") + "\n");
        self.left_behind().insert(address);
    }

    /// Whether a write to the function still waits.
    fn hangs(&self, address: PciAddress) -> bool {
        let address = address.to_string();
        let of_it = |line: &String| line.split(' ').nth(1) == Some(&*address);
        lines(&self.kernel("hanging")).iter().any(of_it)
    }
}

impl Kernel for FakeKernel {
    fn apply(&self, step: &Step, timeout: Duration) -> Result<(), WriteError> {
        if self.is_stuck(step.address()) {
            return Err(WriteError::Stuck);
        }
        let fault = self.faults.ask(&step.to_string());
        if fault == Some(Fault::Hang) || self.hangs(step.address()) {
            self.hang(step);
            return Err(WriteError::TimedOut(timeout));
        }
        match fault {
            Some(Fault::Errno(errno)) => return Err(WriteError::Errno(errno)),
            Some(Fault::NoEffect) => return Ok(()),
            Some(Fault::DieBefore) => die(),
            _ => {}
        }
        let done = self.do_step(step);
        if fault == Some(Fault::DieAfter) {
            die();
        }
        done.map_err(WriteError::Errno)
    }

    fn grant_group(&self, group: GroupId, uid: u32) -> Result<(), WriteError> {
        chown(self.node(&group.to_string()), Some(uid), None)
            .map_err(|error| WriteError::Errno(error.raw_os_error().unwrap_or(libc::EIO)))
    }

    fn is_stuck(&self, address: PciAddress) -> bool {
        let hangs = self.hangs(address);
        let mut left_behind = self.left_behind();
        if !hangs {
            left_behind.remove(&address);
        }
        left_behind.contains(&address)
    }
}

fn is_vfio(driver: &str) -> bool {
    driver == "vfio-pci"
}

/// As `kill -9` does it: nothing is unwound, nothing is flushed.
fn die() -> ! {
    let this = rustix::process::getpid();
    let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}
