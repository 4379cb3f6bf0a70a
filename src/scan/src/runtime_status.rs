//! Whether a function sleeps: `/sys/bus/pci/devices/ADDRESS/power/runtime_status`.
//!
//! Kernel: `Documentation/ABI/testing/sysfs-devices-power`, since 2.6.36, readable by everyone; reading it
//! wakes nothing. It is `suspended`, `suspending`, `resuming`, `active`, `error`, or `unsupported`
//! where nothing puts the function to sleep.

use vfioctl_core::pci::PciAddress;

use crate::SysRoot;
use crate::function::DEVICES;

/// Whether a function sleeps, so that reading from it would wake it. Where that cannot be told, nothing
/// puts it to sleep.
pub fn read_is_asleep(root: &SysRoot, address: PciAddress) -> bool {
    let path = format!("{DEVICES}/{address}/power/runtime_status");
    let status = root.sys.read_attribute(&path).ok().flatten();
    matches!(status.as_deref(), Some("suspended" | "suspending"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::devices;

    #[test]
    fn only_what_is_suspended_sleeps() {
        let is_asleep = |files: &[(&str, &str)]| {
            let (_folder, root) = devices(files);
            read_is_asleep(&root, "0000:01:00.0".parse().unwrap())
        };
        for (status, expected) in [
            ("active", false),
            ("suspended", true),
            ("suspending", true),
            ("resuming", false),
            ("unsupported", false),
        ] {
            let files = [("0000:01:00.0/power/runtime_status", status)];
            assert_eq!(is_asleep(&files), expected, "{status}");
        }
        assert!(!is_asleep(&[]));
    }
}
