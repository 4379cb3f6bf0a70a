//! Who has a device open: `/proc/PID/fd/`.
//!
//! A driver whose device is in use may wait in its `remove` for as long as the user likes, and
//! the writer of `unbind` with it, unkillable. So the users are looked for first. Processes of
//! other users are seen with `CAP_SYS_PTRACE`; a process that cannot be seen is not counted.

use vfioctl_core::pci::{GroupId, PciAddress};

use crate::SysRoot;
use crate::drm::read_drm_names;
use crate::nvidia::read_nvidia_information;

/// Most descriptors looked at, over all processes: a busy server has some hundred thousand.
const MAX_DESCRIPTORS: usize = 2_000_000;

/// A process that has a device open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: String,
    /// The device node it has open.
    pub node: String,
}

/// The device nodes through which programs use a function: DRM cards, and the VFIO group.
///
/// Sound cards are not among them: `snd_hda_intel` lets go of its device with users on it.
pub fn read_device_nodes(
    root: &SysRoot,
    address: PciAddress,
    group: Option<GroupId>,
) -> Vec<String> {
    let drm = read_drm_names(root, address).unwrap_or_default();
    let mut nodes: Vec<String> = drm
        .cards
        .iter()
        .chain(&drm.renders)
        .map(|name| format!("/dev/dri/{name}"))
        .collect();
    // NVIDIA's own nodes are numbered by its driver.
    let nvidia = read_nvidia_information(root, address).ok().flatten();
    let minor = nvidia.and_then(|information| information.minor);
    nodes.extend(minor.map(|minor| format!("/dev/nvidia{minor}")));
    nodes.extend(group.map(|group| format!("/dev/vfio/{group}")));
    nodes
}

/// The processes that have one of the nodes open.
pub fn read_holders(root: &SysRoot, nodes: &[String]) -> Vec<Holder> {
    let mut holders = Vec::new();
    let mut looked_at = 0;
    let processes = root.proc.list(".").ok().flatten().unwrap_or_default();
    for pid in processes.iter().filter_map(|name| name.parse::<u32>().ok()) {
        let Ok(Some(folder)) = root.proc.sub(&format!("{pid}/fd")) else {
            continue;
        };
        for descriptor in folder.list(".").ok().flatten().unwrap_or_default() {
            looked_at += 1;
            if looked_at > MAX_DESCRIPTORS {
                return holders;
            }
            let target = folder.read_link(&descriptor).ok().flatten();
            let Some(node) = target.filter(|target| nodes.contains(target)) else {
                continue;
            };
            let name = root
                .proc
                .read_attribute(&format!("{pid}/comm"))
                .ok()
                .flatten();
            holders.push(Holder {
                pid,
                name: name.unwrap_or_default(),
                node,
            });
            break;
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_a_node_open_is_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for (pid, name, target) in [(7, "viewer", "/dev/dri/card0"), (8, "other", "/dev/null")] {
            let process = folder.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(process.join("fd")).unwrap();
            std::fs::write(process.join("comm"), format!("{name}\n")).unwrap();
            std::os::unix::fs::symlink(target, process.join("fd/3")).unwrap();
        }
        std::fs::create_dir(folder.path().join("sys")).unwrap();
        let root = SysRoot::below(folder.path()).unwrap();
        let node = "/dev/dri/card0".to_owned();
        let expected = Holder {
            pid: 7,
            name: "viewer".into(),
            node: node.clone(),
        };
        assert_eq!(read_holders(&root, &[node]), [expected]);
        assert_eq!(read_holders(&root, &["/dev/dri/card1".to_owned()]), []);
    }
}
