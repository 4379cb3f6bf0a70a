//! What a plan is made of: the machine, and the files that are there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vfioctl_core::Answer;
use vfioctl_core::check::{CommandLine, ModuleState};

/// What the caller knows of the machine. The kernel's own files are read by `vfioctl-scan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The processor's vendor as it names itself, `GenuineIntel`.
    pub vendor: Answer<String>,
    /// The command line of the running kernel.
    pub command_line: Answer<CommandLine>,
    /// The release of the running kernel.
    pub kernel_release: Answer<String>,
    /// Whether the kernel has made IOMMU groups.
    pub is_iommu_on: Answer<bool>,
    /// Where the module `vfio-pci` is.
    pub vfio_pci: Answer<ModuleState>,
}

/// All that a plan is made of. Files are absolute paths of the machine and their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub(crate) machine: Machine,
    pub(crate) grub: Option<Grub>,
    pub(crate) systemd_boot: SystemdBoot,
    /// Files that name modules to load at boot.
    pub(crate) modules_load: Vec<TextFile>,
    /// Files of `pam_limits`; `None` where it is not installed.
    pub(crate) limits: Option<Vec<TextFile>>,
    pub(crate) initramfs: InitramfsWriter,
    /// Whether anything is pinned.
    pub(crate) has_pins: bool,
    /// Where our udev rules are, which the initramfs needs too.
    pub(crate) rules: Option<String>,
    /// What an earlier run has edited for and not brought into effect.
    pub(crate) pending: BTreeSet<Refresh>,
    /// Paths that are there and that this user may not read.
    pub(crate) hidden: Vec<String>,
}

/// A file and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

/// GRUB, where it is configured and can write its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grub {
    /// `/etc/default/grub`.
    pub(crate) default: TextFile,
    /// `/etc/default/grub.d/*.cfg`, in the order in which they are sourced; `None` where this
    /// GRUB does not source them.
    pub(crate) drop_ins: Option<Vec<TextFile>>,
    /// The command that brings them into effect.
    pub(crate) update: Vec<String>,
    /// Whether `grubby` keeps the parameters, in an entry for each kernel.
    pub(crate) has_grubby: bool,
}

/// What systemd-boot and `kernel-install` go by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SystemdBoot {
    /// `loader/entries/*.conf`.
    pub(crate) entries: Vec<TextFile>,
    /// `/etc/kernel/cmdline`.
    pub(crate) command_line: Option<TextFile>,
    /// `/usr/lib/kernel/cmdline`, which holds where there is no other.
    pub(crate) vendor_command_line: Option<TextFile>,
    /// Whether there is a `kernel-install`.
    pub(crate) has_kernel_install: bool,
    /// The kernels that it can install anew.
    pub(crate) kernels: Vec<Kernel>,
}

/// An installed kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) version: String,
    pub(crate) image: String,
    pub(crate) initrd: Option<String>,
}

/// What writes the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InitramfsWriter {
    /// Debian's and Ubuntu's.
    InitramfsTools {
        /// The hook of ours, where it is there.
        hook: Option<TextFile>,
        /// `MODULES=` of the configuration, the last one.
        modules: Option<String>,
        /// The modules that the administrator has named.
        named: Vec<String>,
        /// A splash screen, which takes the drivers of the screen along.
        has_splash: bool,
    },
    /// Fedora's, and others'.
    Dracut {
        /// The configuration of ours, where it is there.
        conf: Option<TextFile>,
    },
    /// None that is known.
    Unknown,
}

/// What has to be brought into effect by a program after files were edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    /// The initramfs of every kernel. Comes first: boot loaders name what is there.
    Initramfs,
    /// The configuration of GRUB.
    Grub,
    /// The images that `kernel-install` makes.
    KernelInstall,
}
