//! Whether the processor can run guests.

use crate::Answer;

use super::{Check, Facts, Finding, KvmNode, Run, VirtualisationFlag};

pub(super) const CHECK: Check = Check {
    id: "cpu",
    title: "processor virtualisation",
    why: "KVM runs a guest's instructions on the processor itself; without VT-x or AMD-V each of \
          them is imitated, many times slower",
    looks_at: &[
        "/proc/cpuinfo: 'vendor_id', and 'vmx' or 'svm' in 'flags'",
        "/dev/kvm",
    ],
    rule: "Passes where the processor shows the flag of its virtualisation; warns where it does \
           not and /dev/kvm opens all the same; fails where neither is. Other architectures than \
           x86 show no such flag: cannot see.",
    run: Run::Once(run),
};

fn run(facts: &Facts) -> Finding {
    let Answer::Known(cpu) = &facts.host.cpu else {
        return Finding::cannot_see("the processor does not show its flags");
    };
    match cpu.virtualisation {
        Some(flag) => {
            let name = name_of(flag);
            let nested = if cpu.is_guest {
                ", in a machine that is itself a guest"
            } else {
                ""
            };
            Finding::pass(format!("{name}{nested}"))
        }
        // Some kernels make a KVM of their own without it, as guests of others.
        None if facts.host.kvm_node == Answer::Known(KvmNode::Usable) => Finding::warning(
            "neither VT-x ('vmx') nor AMD-V ('svm') is on, yet /dev/kvm opens: guests are slower",
        ),
        None if cpu.is_guest => {
            Finding::fail("this machine is itself a guest and was given no virtualisation")
                .with_fix(
                    "give it the host's processor (QEMU: '-cpu host'), and nesting on its host",
                )
        }
        None => Finding::fail("neither VT-x ('vmx') nor AMD-V ('svm') is on").with_fix(format!(
            "switch on {} in the firmware setup, then switch the machine off and on",
            words_of(&cpu.vendor)
        )),
    }
}

fn name_of(flag: VirtualisationFlag) -> &'static str {
    match flag {
        VirtualisationFlag::Vmx => "Intel VT-x ('vmx')",
        VirtualisationFlag::Svm => "AMD-V ('svm')",
    }
}

/// What firmware setups call it.
fn words_of(vendor: &str) -> &'static str {
    match vendor {
        "GenuineIntel" => "'Intel Virtualization Technology' (VT-x)",
        "AuthenticAMD" | "HygonGenuine" => "'SVM Mode' (AMD-V)",
        _ => "virtualisation (VT-x, SVM)",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CpuFacts, State, sample};
    use super::*;

    fn on(virtualisation: Option<VirtualisationFlag>, is_guest: bool) -> Finding {
        let mut facts = sample::good();
        let vendor = "AuthenticAMD".to_owned();
        facts.host.kvm_node = Answer::Known(KvmNode::Absent);
        facts.host.cpu = Answer::Known(CpuFacts {
            vendor,
            virtualisation,
            is_guest,
        });
        run(&facts)
    }

    #[test]
    fn a_processor_with_its_flag_passes() {
        assert_eq!(
            on(Some(VirtualisationFlag::Svm), false),
            Finding::pass("AMD-V ('svm')")
        );
    }

    #[test]
    fn a_processor_without_fails_and_names_the_switch_of_its_vendor() {
        let finding = on(None, false);
        assert_eq!(finding.state, State::Fail);
        assert_eq!(
            finding.fix.as_deref(),
            Some(
                "switch on 'SVM Mode' (AMD-V) in the firmware setup, then switch the machine off \
                 and on"
            )
        );
        assert_eq!(on(None, true).state, State::Fail);
    }

    #[test]
    fn a_kvm_that_opens_without_the_flag_is_a_warning() {
        let mut facts = sample::bare();
        facts.host.kvm_node = Answer::Known(KvmNode::Usable);
        assert_eq!(run(&facts).state, State::Warning);
    }

    #[test]
    fn a_processor_without_flags_cannot_be_seen() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
