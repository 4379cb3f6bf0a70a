//! Whether the kernel can hand devices to user space.

use crate::Answer;

use super::{Check, Facts, Finding, ModuleState, Run};

pub(super) const CHECK: Check = Check {
    id: "vfio",
    title: "VFIO",
    why: "'vfio-pci' is the driver that holds a device while a guest has it; a device cannot be \
          bound to a driver that is not there",
    looks_at: &[
        "/proc/modules and /usr/lib/modules/RELEASE/modules.builtin, modules.dep: vfio_pci, \
         vfio_iommu_type1",
        "/sys/module/vfio_pci/",
    ],
    rule: "Passes where vfio-pci is loaded or part of the kernel; fails where it is not loaded, \
           and where this kernel has none.",
    run: Run::Once(run),
};

fn run(facts: &Facts) -> Finding {
    let modules = &facts.host.modules;
    match modules.vfio_pci {
        Answer::CannotSee => Finding::cannot_see("the kernel does not show its modules"),
        Answer::Known(ModuleState::Absent) => Finding::fail("this kernel has no vfio-pci")
            .with_fix(
                "start a kernel made with CONFIG_VFIO_PCI; those of the distribution have it",
            ),
        Answer::Known(ModuleState::Available) => Finding::fail("vfio-pci is not loaded")
            .with_fix("sudo vfioctl setup; or, until the next boot, sudo modprobe vfio-pci"),
        Answer::Known(ModuleState::Loaded) => Finding::pass("vfio-pci is loaded"),
        Answer::Known(ModuleState::BuiltIn) => Finding::pass("vfio-pci is part of the kernel"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    fn with(vfio_pci: ModuleState) -> Finding {
        let mut facts = sample::good();
        facts.host.modules.vfio_pci = Answer::Known(vfio_pci);
        run(&facts)
    }

    #[test]
    fn loaded_and_built_in_pass() {
        assert_eq!(
            with(ModuleState::Loaded),
            Finding::pass("vfio-pci is loaded")
        );
        assert_eq!(
            with(ModuleState::BuiltIn),
            Finding::pass("vfio-pci is part of the kernel")
        );
    }

    #[test]
    fn a_module_on_the_disk_only_is_loaded_by_the_fix() {
        let fix = "sudo vfioctl setup; or, until the next boot, sudo modprobe vfio-pci";
        assert_eq!(
            with(ModuleState::Available),
            Finding::fail("vfio-pci is not loaded").with_fix(fix)
        );
        assert_eq!(with(ModuleState::Absent).state, State::Fail);
    }

    #[test]
    fn hidden_modules_are_not_missing_ones() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
