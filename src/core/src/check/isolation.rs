//! Whether groups are what the hardware keeps apart.

use crate::Answer;
use crate::iommu::{DifferenceKind, Separation, Verdict};
use crate::pci::PciAddress;

use super::{Check, Facts, Finding, Run};

pub(super) const CHECK: Check = Check {
    id: "isolation",
    title: "isolation",
    why: "a group is chosen when a device is found and never looked at again: ACS bits that were \
          cleared since, a switch whose ports lack ACS, or an assertion on the kernel command line \
          leave groups that look separate while a guest can reach what is in the other one",
    looks_at: &[
        "the ACS registers and the PCI Express types in config space (through the helper)",
        "/sys/bus/pci/devices/ADDRESS/iommu_group",
        "the kernel's quirk table, of a date that 'acs audit' tells",
    ],
    rule: "Passes where the registers keep apart what the kernel's groups keep apart. Warns of GPUs \
           that are separated by assertion, by a switch that may not, or for no reason that can be \
           seen. Fails where isolation is reduced: ACS bits are off that could be on, and the \
           kernel still has the groups of before.",
    run: Run::Once(run),
};

fn run(facts: &Facts) -> Finding {
    let snapshot = &facts.snapshot;
    let separation = Separation::of(snapshot, &facts.host.platform());
    if !separation.has_kernel_groups() {
        return Finding::cannot_see("there are no groups");
    }
    let gpus: Vec<(PciAddress, Verdict)> = snapshot
        .functions
        .values()
        .filter(|function| function.class.is_gpu())
        .filter_map(|gpu| Some((gpu.address, separation.audit(gpu.address)?.verdict)))
        .collect();
    let reduced: Vec<PciAddress> = separation
        .differences()
        .into_iter()
        .filter(|difference| difference.kind != DifferenceKind::Coarser)
        .flat_map(|difference| difference.bits_off)
        .collect();
    if !reduced.is_empty() {
        return Finding::fail(format!(
            "isolation is reduced: ACS bits of {} are off, and the groups below are those of before",
            listed(&reduced)
        ))
        .with_fix("vfioctl acs restore, or vfioctl acs override");
    }
    let of = |wanted: Verdict| -> Vec<PciAddress> {
        let all = gpus.iter().filter(|(_, verdict)| *verdict == wanted);
        all.map(|(address, _)| *address).collect()
    };
    let sentences: Vec<String> = [Verdict::Asserted, Verdict::OpenSwitch, Verdict::Unexplained]
        .into_iter()
        .map(|verdict| (of(verdict), verdict))
        .filter(|(gpus, _)| !gpus.is_empty())
        .map(|(gpus, verdict)| format!("{}: {verdict}", listed(&gpus)))
        .collect();
    if !sentences.is_empty() {
        return Finding::warning(sentences.join("; ")).with_fix(
            "vfioctl acs audit, and no guest that you do not trust on one of them alone",
        );
    }
    let hidden = snapshot
        .functions
        .values()
        .any(|function| function.acs == Answer::CannotSee);
    if hidden {
        return Finding::cannot_see("ACS registers cannot be seen by this user")
            .with_fix("make the check 'helper' pass, or run 'sudo vfioctl check'");
    }
    Finding::pass("the registers keep apart what the groups keep apart")
}

fn listed(addresses: &[PciAddress]) -> String {
    let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    super::groups::listed(&names)
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;
    use crate::acs::Acs;
    use crate::iommu::sample::{at, booted, two_and_two};

    fn facts() -> Facts {
        let mut facts = sample::good();
        facts.snapshot = booted(two_and_two());
        facts
    }

    #[test]
    fn groups_that_the_registers_make_pass() {
        assert_eq!(run(&facts()).state, State::Pass);
    }

    #[test]
    fn cleared_bits_under_groups_of_before_fail_and_name_the_port() {
        let mut facts = facts();
        for address in ["00:04.0", "00:04.1"] {
            let port = facts.snapshot.functions.get_mut(&at(address)).unwrap();
            port.acs = Answer::Known(Some(Acs::new(0x5f, 0)));
        }
        let finding = run(&facts);
        assert_eq!(finding.state, State::Fail);
        assert!(finding.found.contains("0000:00:04.0"), "{}", finding.found);
    }

    #[test]
    fn what_is_hidden_is_not_a_pass() {
        let mut facts = facts();
        for function in facts.snapshot.functions.values_mut() {
            function.acs = Answer::CannotSee;
        }
        assert_eq!(run(&facts).state, State::CannotSee);
    }

    #[test]
    fn an_unexplained_separation_is_a_warning() {
        let mut facts = facts();
        let apart = facts.snapshot.functions.get_mut(&at("04:00.0")).unwrap();
        apart.iommu_group = Some(crate::pci::GroupId(99));
        assert_eq!(run(&facts).state, State::Warning);
    }
}
