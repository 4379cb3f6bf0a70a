//! The machine beside its PCI functions: kernel, processor, modules, firmware.

use std::collections::BTreeSet;

use crate::Answer;
use crate::acs::{AcsOverride, AcsParameters, Platform};
use crate::pci::GroupId;

use super::Distribution;

/// The machine beside its PCI functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The distribution.
    pub distribution: Distribution,
    /// The release of the running kernel, `6.1.0-56-amd64`.
    pub kernel_release: Answer<String>,
    /// The command line of the running kernel.
    pub command_line: Answer<CommandLine>,
    /// The processor.
    pub cpu: Answer<CpuFacts>,
    /// `/dev/kvm`.
    pub kvm_node: Answer<KvmNode>,
    /// The modules that passthrough needs.
    pub modules: Modules,
    /// Whether `/dev/iommu` is there.
    pub iommufd_node: Answer<bool>,
    /// The IOMMUs that the kernel has found, by name.
    pub iommus: Answer<Vec<String>>,
    /// The ACPI tables that describe an IOMMU (DMAR: Intel, IVRS: AMD, IORT: Arm).
    pub iommu_tables: Answer<Vec<String>>,
    /// Groups with memory that firmware has reserved for a device and that no guest can have:
    /// the kernel gives none of their devices away.
    pub reserved_groups: Answer<BTreeSet<GroupId>>,
    /// Whether the kernel has code for `pcie_acs_override=`. Only looked for where the parameter
    /// is on the command line.
    pub has_acs_override: Answer<bool>,
    /// How much memory a process of this user may lock.
    pub memory_lock: Answer<MemoryLock>,
    /// The kernel's lockdown; `None` where it has none.
    pub lockdown: Answer<Option<Lockdown>>,
    /// Whether firmware started this kernel with Secure Boot.
    pub secure_boot: Answer<bool>,
    /// The drivers of GPUs that are loaded.
    pub drivers: Answer<Vec<GpuDriver>>,
    /// Images of the UEFI firmware for guests, as paths.
    pub guest_firmware: Answer<Vec<String>>,
    /// Programs that write ISO images, as paths.
    pub iso_tools: Answer<Vec<String>>,
}

/// What `/dev/kvm` is to this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmNode {
    /// Not there, or no driver behind it.
    Absent,
    /// It can be opened.
    Usable,
    /// It is there and this user may not open it.
    NotPermitted,
}

/// What the processor says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuFacts {
    /// Its vendor, `GenuineIntel`; empty where it does not say.
    pub vendor: String,
    /// What it calls virtualisation; `None` where it has none or firmware has switched it off.
    pub virtualisation: Option<VirtualisationFlag>,
    /// Whether this machine is itself a guest.
    pub is_guest: bool,
}

/// The flag by which a processor tells that it can run guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VirtualisationFlag {
    /// Intel VT-x.
    Vmx,
    /// AMD-V.
    Svm,
}

/// Where a kernel module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModuleState {
    /// Loaded.
    Loaded,
    /// Part of the kernel image.
    BuiltIn,
    /// On the disk, not loaded.
    Available,
    /// Not made for this kernel.
    Absent,
}

impl ModuleState {
    /// Whether its code runs now.
    pub fn is_present(self) -> bool {
        matches!(self, Self::Loaded | Self::BuiltIn)
    }
}

/// The modules that passthrough needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modules {
    /// `vfio-pci`: the driver that holds a device for a guest.
    pub vfio_pci: Answer<ModuleState>,
    /// `vfio_iommu_type1`: DMA through VFIO's own containers.
    pub vfio_iommu_type1: Answer<ModuleState>,
    /// `iommufd`: DMA through `/dev/iommu`.
    pub iommufd: Answer<ModuleState>,
    /// `kvm_intel`.
    pub kvm_intel: Answer<ModuleState>,
    /// `kvm_amd`.
    pub kvm_amd: Answer<ModuleState>,
}

/// `RLIMIT_MEMLOCK` in bytes; `None`: unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLock {
    /// What holds now.
    pub soft_bytes: Option<u64>,
    /// As far as the process itself may raise it.
    pub hard_bytes: Option<u64>,
}

/// What the kernel keeps from root (`kernel_lockdown(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lockdown {
    /// Nothing.
    None,
    /// Changing the running kernel.
    Integrity,
    /// Reading it, too.
    Confidentiality,
}

/// A driver of GPUs that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuDriver {
    /// Its module.
    pub name: String,
    /// Its version; `None` where it is part of the kernel and has none of its own.
    pub version: Option<String>,
}

/// The command line of the running kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine(String);

/// What decides on groups beside registers, of what was read of a machine. What cannot be seen is
/// taken to be as on most machines: nothing asserted, no AMD IOMMU.
pub fn platform(
    command_line: &Answer<CommandLine>,
    kernel_release: Option<&str>,
    iommu_tables: &Answer<Vec<String>>,
    has_acs_override: Answer<bool>,
) -> Platform {
    let Answer::Known(line) = command_line else {
        return Platform::default();
    };
    let honoured = line
        .value("pcie_acs_override")
        .filter(|_| has_acs_override == Answer::Known(true));
    let has_table = |tables: &Vec<String>| tables.iter().any(|table| table == "IVRS");
    Platform {
        has_ivrs: iommu_tables.as_ref().known().is_some_and(has_table),
        acs_override: honoured.map(AcsOverride::parse).unwrap_or_default(),
        acs_parameters: AcsParameters::parse(
            line.values("pci"),
            kernel_release.unwrap_or_default(),
        ),
        ..Platform::default()
    }
}

impl CommandLine {
    /// Takes the text of `/proc/cmdline`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the last occurrence of a parameter, as the kernel takes it; a parameter
    /// without `=` has an empty value.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.words().filter_map(|word| value_of(word, name)).last()
    }

    /// The values of all occurrences of a parameter, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.words().filter_map(move |word| value_of(word, name))
    }

    /// Whether a parameter has an option in its list: `intel_iommu=on,sm_on` has `on`.
    pub fn has_option(&self, name: &str, option: &str) -> bool {
        self.words()
            .filter_map(|word| value_of(word, name))
            .any(|value| value.split(',').any(|part| part == option))
    }

    /// The parameters of the kernel: what follows `--` is for init.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split_whitespace().take_while(|word| *word != "--")
    }
}

/// The kernel takes `-` for `_` in names of parameters (`kernel/params.c`, `parameq`).
fn value_of<'a>(word: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    (key.replace('-', "_") == name).then_some(value)
}

impl Host {
    /// What decides on groups beside registers.
    pub fn platform(&self) -> Platform {
        platform(
            &self.command_line,
            self.kernel_release.as_ref().known().map(String::as_str),
            &self.iommu_tables,
            self.has_acs_override,
        )
    }

    /// A machine of which nothing could be seen.
    pub fn unseen() -> Self {
        let hidden = Answer::CannotSee;
        Self {
            distribution: Distribution::default(),
            kernel_release: Answer::CannotSee,
            command_line: Answer::CannotSee,
            cpu: Answer::CannotSee,
            kvm_node: Answer::CannotSee,
            modules: Modules {
                vfio_pci: hidden,
                vfio_iommu_type1: hidden,
                iommufd: hidden,
                kvm_intel: hidden,
                kvm_amd: hidden,
            },
            iommufd_node: Answer::CannotSee,
            iommus: Answer::CannotSee,
            iommu_tables: Answer::CannotSee,
            reserved_groups: Answer::CannotSee,
            has_acs_override: Answer::CannotSee,
            memory_lock: Answer::CannotSee,
            lockdown: Answer::CannotSee,
            secure_boot: Answer::CannotSee,
            drivers: Answer::CannotSee,
            guest_firmware: Answer::CannotSee,
            iso_tools: Answer::CannotSee,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_parameter_counts() {
        let line = CommandLine::new("quiet intel_iommu=off intel-iommu=on,sm_on root=/dev/sda1");
        assert_eq!(line.value("intel_iommu"), Some("on,sm_on"));
        assert_eq!(line.value("quiet"), Some(""));
        assert_eq!(line.value("intel"), None);
        assert!(line.has_option("intel_iommu", "sm_on"));
        assert!(!line.has_option("intel_iommu", "sm"));
    }

    #[test]
    fn what_is_for_init_is_not_for_the_kernel() {
        assert_eq!(CommandLine::new("quiet -- iommu=off").value("iommu"), None);
    }
}
