//! A machine in a folder: what Linux shows of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::config_space;
use super::folder::{lines, link, remove, set_mode, write};
use super::{FakeKernel, Function};

/// A machine in a folder.
#[derive(Debug, Clone)]
pub struct Machine {
    folder: PathBuf,
}

impl Machine {
    /// A machine without functions: process 1, people, a boot.
    pub fn make(folder: &Path) -> Self {
        let machine = Self::at(folder);
        for path in [
            "sys/bus/pci/devices",
            "sys/bus/pci/drivers",
            "sys/kernel/iommu_groups",
            "sys/dev/block",
            "sys/class/block",
            "sys/class/net",
            "dev/vfio",
            "kernel/drivers",
            "etc/vfioctl/pinned",
            "run",
        ] {
            fs::create_dir_all(folder.join(path)).unwrap();
        }
        for (path, text) in [
            (
                "proc/sys/kernel/random/boot_id",
                "5e3b1b0c-0000-4000-8000-000000000001\n",
            ),
            (
                "proc/1/mountinfo",
                "22 1 0:20 / / rw - overlay overlay rw\n",
            ),
            (
                "proc/1/net/route",
                "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n",
            ),
            ("proc/1/net/ipv6_route", ""),
            ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n"),
            (
                "etc/passwd",
                "root:x:0:0::/root:/bin/bash\nalice:x:1001:1001::/home/alice:/bin/bash\n\
                 bob:x:1002:1002::/home/bob:/bin/bash\ncarol:x:1003:1003::/home/carol:/bin/bash\n",
            ),
            ("etc/group", "root:x:0:\nvfioctl:x:987:alice,bob\n"),
        ] {
            machine.write(path, text);
        }
        machine
    }

    /// The machine that lies in a folder.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file: `proc/1/mountinfo`.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        write(&self.folder.join(path), text);
    }

    /// Adds a line to a file.
    pub fn append(&self, path: &str, line: &str) {
        let mut all = lines(&self.folder.join(path));
        all.push(line.to_owned());
        self.write(path, all.join("\n") + "\n");
    }

    /// Makes a link.
    pub fn link(&self, target: &str, path: &str) {
        link(target, &self.folder.join(path));
    }

    /// Loads a driver that knows some ids. `manages_dma`: its devices do not keep VFIO from their
    /// group (`driver_managed_dma`).
    pub fn load_driver(&self, name: &str, ids: &[(u16, u16)], manages_dma: bool) {
        fs::create_dir_all(self.folder.join("sys/bus/pci/drivers").join(name)).unwrap();
        let mut text = String::new();
        for (vendor, device) in ids {
            text += &format!("id {vendor:04x}:{device:04x}\n");
        }
        if manages_dma {
            text += "driver_managed_dma\n";
        }
        self.write(&format!("kernel/drivers/{name}"), text);
    }

    /// Adds a function, and binds it to its driver.
    pub fn add(&self, function: &Function) {
        let address = &function.address;
        let parent = match &function.upstream {
            Some(upstream) => fs::read_link(self.device_link(upstream))
                .unwrap_or_else(|_| panic!("no bridge {upstream}"))
                .to_string_lossy()
                .into_owned(),
            None => format!("../../../devices/pci{}", &address[..7]),
        };
        let target = format!("{parent}/{address}");
        let path = target.replacen("../../../", "sys/", 1);
        fs::create_dir_all(self.folder.join(&path)).unwrap();
        link(&target, &self.device_link(address));
        self.write(&format!("{path}/uevent"), uevent(function));
        self.write(&format!("{path}/modalias"), modalias(function));
        self.write(&format!("{path}/config"), config_space(function));
        self.write(&format!("{path}/driver_override"), "(null)\n");
        self.write(&format!("{path}/numa_node"), "-1\n");
        self.write(&format!("{path}/power_state"), "D0\n");
        if function.port.has_acs() {
            self.write(&format!("{path}/power/control"), "auto\n");
        }
        self.write(&format!("{path}/reset_method"), "bus\n");
        self.write(
            &format!("{path}/resource"),
            "0x00000000fc000000 0x00000000fcffffff 0x0000000000042208\n",
        );
        if let Some(group) = function.group {
            self.join_group(group, address, &path);
        }
        if let Some(card) = function.card {
            self.write(&format!("kernel/cards/{address}"), card.to_string());
        }
        if let Some(driver) = &function.driver {
            let bound = FakeKernel::of(self).bind(driver, address);
            bound.unwrap_or_else(|errno| panic!("bind {address} to {driver}: errno {errno}"));
        }
    }

    pub(super) fn join_group(&self, group: u32, address: &str, path: &str) {
        let members = format!("sys/kernel/iommu_groups/{group}/devices");
        let depth = path.matches('/').count();
        self.link(
            &format!("{}kernel/iommu_groups/{group}", "../".repeat(depth)),
            &format!("{path}/iommu_group"),
        );
        self.link(
            &format!("../../../../{}", path.replacen("sys/", "", 1)),
            &format!("{members}/{address}"),
        );
    }

    fn device_link(&self, address: &str) -> PathBuf {
        self.folder.join("sys/bus/pci/devices").join(address)
    }

    /// The folder of a function below `sys/devices`; `None` where nothing sits at the address.
    pub fn device(&self, address: &str) -> Option<PathBuf> {
        fs::canonicalize(self.device_link(address)).ok()
    }

    /// The name in the target of a function's link: its `driver`, its `iommu_group`.
    pub fn link_name(&self, address: &str, name: &str) -> Option<String> {
        let target = fs::read_link(self.device(address)?.join(name)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The members of a group.
    pub fn members(&self, group: &str) -> Vec<String> {
        let folder = format!("sys/kernel/iommu_groups/{group}/devices");
        let entries = fs::read_dir(self.folder.join(folder)).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Puts another device in the place of a function, as a change of cards does.
    pub fn replace(&self, address: &str, vendor: u16, device: u16) {
        let path = self.device(address).unwrap().join("uevent");
        let text: Vec<String> = lines(&path)
            .iter()
            .map(|line| match line.starts_with("PCI_ID=") {
                true => format!("PCI_ID={vendor:04X}:{device:04X}"),
                false => line.clone(),
            })
            .collect();
        write(&path, text.join("\n") + "\n");
        let path = path.with_file_name("modalias");
        let text = lines(&path).concat();
        let (_, rest) = text.split_at("pci:v00001234d00001111".len());
        write(&path, format!("pci:v{vendor:08X}d{device:08X}{rest}\n"));
    }

    /// Puts a disk below a function and mounts it there.
    pub fn mount(&self, address: &str, disk: &str, number: &str, mount_point: &str) {
        let path = self.device(address).unwrap();
        let path = path.strip_prefix(fs::canonicalize(&self.folder).unwrap().join("sys"));
        let path = format!("{}/virtio0/block/{disk}", path.unwrap().display());
        fs::create_dir_all(self.folder.join("sys").join(&path)).unwrap();
        for (at, up) in [
            (format!("sys/dev/block/{number}"), "../../"),
            (format!("sys/class/block/{disk}"), "../../"),
        ] {
            self.link(&format!("{up}{path}"), &at);
        }
        self.append(
            "proc/1/mountinfo",
            &format!("40 22 {number} / {mount_point} rw - ext4 /dev/{disk} rw"),
        );
    }

    /// Puts a network interface below a function and lets the default route leave by it.
    pub fn route(&self, address: &str, interface: &str) {
        let path = self.device(address).unwrap();
        let path = path.strip_prefix(fs::canonicalize(&self.folder).unwrap().join("sys"));
        let path = format!("{}/virtio1/net/{interface}", path.unwrap().display());
        fs::create_dir_all(self.folder.join("sys").join(&path)).unwrap();
        self.link(
            &format!("../../{path}"),
            &format!("sys/class/net/{interface}"),
        );
        self.append(
            "proc/1/net/route",
            &format!("{interface}\t00000000\t0202000A\t0003\t0\t0\t100\t00000000"),
        );
    }

    /// Lets a process have a file open.
    pub fn open_by(&self, pid: u32, name: &str, node: &str) {
        self.write(&format!("proc/{pid}/comm"), format!("{name}\n"));
        self.link(node, &format!("proc/{pid}/fd/5"));
    }

    /// Ends that process.
    pub fn end(&self, pid: u32) {
        remove(&self.folder.join(format!("proc/{pid}/fd/5")));
        fs::remove_dir_all(self.folder.join(format!("proc/{pid}"))).unwrap();
    }

    /// Lets everyone look at the folder, as at the real ones.
    pub fn open_to_all(&self) {
        set_mode(&self.folder, 0o755);
    }
}

fn modalias(function: &Function) -> String {
    let Function {
        vendor,
        device,
        class,
        subsystem: (sub_vendor, sub_device),
        ..
    } = function;
    let [_, base, subclass, interface] = class.to_be_bytes();
    format!(
        "pci:v{vendor:08X}d{device:08X}sv{sub_vendor:08X}sd{sub_device:08X}\
         bc{base:02X}sc{subclass:02X}i{interface:02X}\n"
    )
}

fn uevent(function: &Function) -> String {
    let Function {
        address,
        vendor,
        device,
        class,
        subsystem,
        ..
    } = function;
    let (class_text, (sub_vendor, sub_device)) = (format!("{class:X}"), subsystem);
    format!(
        "PCI_CLASS={class_text}\nPCI_ID={vendor:04X}:{device:04X}\n\
         PCI_SUBSYS_ID={sub_vendor:04X}:{sub_device:04X}\nPCI_SLOT_NAME={address}\n\
         MODALIAS=pci:v{vendor:08X}d{device:08X}sv{sub_vendor:08X}sd{sub_device:08X}\n"
    )
}
