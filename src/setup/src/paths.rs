//! Every place that this crate reads or writes, as an absolute path of the machine.

use std::path::{Path, PathBuf};

/// GRUB's settings.
pub(crate) const GRUB_DEFAULT: &str = "/etc/default/grub";
/// More of them, on Debian and Ubuntu.
pub(crate) const GRUB_FOLDER: &str = "/etc/default/grub.d";
/// The file of ours there.
pub(crate) const GRUB_DROP_IN: &str = "/etc/default/grub.d/vfioctl.cfg";
/// What `kernel-install` gives to kernels to come.
pub(crate) const KERNEL_CMDLINE: &str = "/etc/kernel/cmdline";
/// Entries of systemd-boot, on the EFI system partition or beside it.
pub(crate) const LOADER_ENTRIES: [&str; 3] = [
    "/boot/efi/loader/entries",
    "/efi/loader/entries",
    "/boot/loader/entries",
];
/// Modules to load at boot.
pub(crate) const MODULES_LOAD: &str = "/etc/modules-load.d/vfioctl.conf";
/// Limits of the group `vfioctl`.
pub(crate) const LIMITS: &str = "/etc/security/limits.d/vfioctl.conf";
/// A file for each pinned device.
pub(crate) const PINNED: &str = "/etc/vfioctl/pinned";
/// Our udev rules.
pub(crate) const RULES: [&str; 2] = [
    "/usr/lib/udev/rules.d/70-vfioctl.rules",
    "/lib/udev/rules.d/70-vfioctl.rules",
];
/// Our hook of initramfs-tools.
pub(crate) const INITRAMFS_HOOK: &str = "/etc/initramfs-tools/hooks/vfioctl";
/// Our configuration of dracut.
pub(crate) const DRACUT_CONF: &str = "/etc/dracut.conf.d/vfioctl.conf";
/// What was done, and how files were before.
pub(crate) const STATE_FOLDER: &str = "/var/lib/vfioctl/setup";
/// The list of it.
pub(crate) const RECORD: &str = "/var/lib/vfioctl/setup/record.json";
/// Where programs of the system are.
pub(crate) const PROGRAMS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The place of a path below a root folder.
pub(crate) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
