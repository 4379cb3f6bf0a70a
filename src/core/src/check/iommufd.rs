//! Which way guests' memory is mapped for devices: iommufd, or VFIO's own containers.

use crate::Answer;

use super::{Check, Facts, Finding, ModuleState, Run};

pub(super) const CHECK: Check = Check {
    id: "iommufd",
    title: "iommufd",
    why: "a guest's memory is mapped for its devices through /dev/iommu or, where there is none, \
          through VFIO's older containers; one of the two must be there",
    looks_at: &[
        "/dev/iommu",
        "modules iommufd and vfio_iommu_type1, as for the check 'vfio'",
    ],
    rule: "Passes where either way is there and says which; fails where neither is.",
    run: Run::Once(run),
};

fn run(facts: &Facts) -> Finding {
    let modules = &facts.host.modules;
    if facts.host.iommufd_node == Answer::Known(true) {
        return Finding::pass("/dev/iommu is there");
    }
    let no_node = match facts.host.iommufd_node {
        Answer::CannotSee => "whether there is a /dev/iommu cannot be seen",
        Answer::Known(_) => "there is no /dev/iommu",
    };
    match modules.vfio_iommu_type1 {
        // A module on the disk is enough: modprobe loads it with vfio (MODULE_SOFTDEP in
        // drivers/vfio/vfio_main.c).
        Answer::Known(ModuleState::Loaded | ModuleState::BuiltIn | ModuleState::Available) => {
            Finding::pass(format!(
                "{no_node}; VFIO's containers (vfio_iommu_type1) serve"
            ))
        }
        Answer::CannotSee => Finding::cannot_see(format!(
            "{no_node}, and the kernel does not show its modules"
        )),
        Answer::Known(ModuleState::Absent) if facts.host.iommufd_node == Answer::CannotSee => {
            Finding::cannot_see(format!("{no_node}; this kernel has no vfio_iommu_type1"))
        }
        Answer::Known(ModuleState::Absent) => {
            let fix = match modules.iommufd {
                Answer::Known(ModuleState::Available) => {
                    "echo iommufd | sudo tee /etc/modules-load.d/iommufd.conf && sudo modprobe \
                     iommufd"
                }
                _ => "start a kernel made with CONFIG_VFIO_IOMMU_TYPE1 or CONFIG_IOMMUFD",
            };
            Finding::fail(format!(
                "{no_node}, and this kernel has no vfio_iommu_type1"
            ))
            .with_fix(fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    #[test]
    fn either_way_passes() {
        let mut facts = sample::good();
        facts.host.iommufd_node = Answer::Known(true);
        assert_eq!(run(&facts), Finding::pass("/dev/iommu is there"));
        facts.host.iommufd_node = Answer::Known(false);
        assert_eq!(run(&facts).state, State::Pass);
    }

    #[test]
    fn neither_way_fails() {
        let mut facts = sample::good();
        facts.host.iommufd_node = Answer::Known(false);
        facts.host.modules.vfio_iommu_type1 = Answer::Known(ModuleState::Absent);
        facts.host.modules.iommufd = Answer::Known(ModuleState::Available);
        let finding = run(&facts);
        assert_eq!(finding.state, State::Fail);
        assert_eq!(
            finding.fix.as_deref(),
            Some(
                "echo iommufd | sudo tee /etc/modules-load.d/iommufd.conf && sudo modprobe iommufd"
            )
        );
    }

    #[test]
    fn a_hidden_dev_is_not_a_missing_iommufd() {
        let mut facts = sample::unseen();
        assert_eq!(run(&facts).state, State::CannotSee);
        facts.host.modules.vfio_iommu_type1 = Answer::Known(ModuleState::Absent);
        assert_eq!(run(&facts).state, State::CannotSee);
    }
}
