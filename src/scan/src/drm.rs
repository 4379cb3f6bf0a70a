//! The DRM nodes of a function: `/sys/bus/pci/devices/ADDRESS/drm/`.
//!
//! Kernel: `drivers/gpu/drm/drm_sysfs.c`, `drm_drv.c`; readable by everyone. The names there are those
//! of the nodes below `/dev/dri/`. Their numbers are given in the order in which drivers come, and given
//! anew each time, so a node is found by its function and never by its number.

use vfioctl_core::pci::PciAddress;

use crate::function::DEVICES;
use crate::number::numbered;
use crate::{ReadError, SysRoot};

/// Names of the DRM nodes of a function, as they are below `/dev/dri/`, in the order of their
/// numbers. A driver that makes several of a kind makes its own one first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrmNames {
    /// Nodes that show and draw: `card0`.
    pub cards: Vec<String>,
    /// Nodes that only draw and compute: `renderD128`.
    pub renders: Vec<String>,
}

/// Reads which DRM nodes a function has; none, where no DRM driver has it.
///
/// # Errors
/// Where the folder is there and cannot be listed.
pub fn read_drm_names(root: &SysRoot, address: PciAddress) -> Result<DrmNames, ReadError> {
    let names = root.sys.list(&format!("{DEVICES}/{address}/drm"))?;
    let names = names.unwrap_or_default();
    Ok(DrmNames {
        cards: numbered(&names, "card"),
        renders: numbered(&names, "renderD"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::devices;

    #[test]
    fn nodes_are_those_of_the_function() {
        let (_folder, root) = devices(&[
            ("0000:01:00.0/drm/card10/dev", "226:10"),
            ("0000:01:00.0/drm/card2/dev", "226:2"),
            ("0000:01:00.0/drm/renderD129/dev", "226:129"),
            ("0000:01:00.0/drm/card2-HDMI-A-1/status", "connected"),
            ("0000:01:00.0/drm/controlD64/dev", "226:64"),
            ("0000:02:00.0/class", "0x030000"),
        ]);
        let read = |address: &str| read_drm_names(&root, address.parse().unwrap()).unwrap();
        let expected = DrmNames {
            cards: vec!["card2".into(), "card10".into()],
            renders: vec!["renderD129".into()],
        };
        assert_eq!(read("0000:01:00.0"), expected);
        assert_eq!(read("0000:02:00.0"), DrmNames::default());
        assert_eq!(read("0000:03:00.0"), DrmNames::default());
    }
}
