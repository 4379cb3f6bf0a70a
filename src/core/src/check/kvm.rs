//! Whether this user can use KVM.

use crate::Answer;

use super::{Check, Facts, Finding, KvmNode, ModuleState, Run, VirtualisationFlag};

pub(super) const CHECK: Check = Check {
    id: "kvm",
    title: "KVM",
    why: "QEMU runs as you and opens /dev/kvm with your rights; without it a guest runs many times \
          slower",
    looks_at: &[
        "/dev/kvm",
        "/proc/modules and modules.builtin: kvm_intel, kvm_amd",
    ],
    rule: "Passes where this user can open /dev/kvm, fails otherwise.",
    run: Run::Once(run),
};

fn run(facts: &Facts) -> Finding {
    match &facts.host.kvm_node {
        Answer::CannotSee => Finding::cannot_see("/dev cannot be read"),
        Answer::Known(KvmNode::Usable) => Finding::pass("/dev/kvm can be opened"),
        Answer::Known(KvmNode::NotPermitted) => {
            Finding::fail("/dev/kvm is there and this user may not open it")
                .with_fix("sudo usermod -aG kvm \"$USER\", then log in again")
        }
        Answer::Known(KvmNode::Absent) => absent(facts),
    }
}

fn absent(facts: &Facts) -> Finding {
    let fail = Finding::fail("there is no /dev/kvm");
    let flag = facts.host.cpu.as_ref().map(|cpu| cpu.virtualisation);
    let (module, state) = match flag {
        Answer::Known(Some(VirtualisationFlag::Vmx)) => ("kvm_intel", facts.host.modules.kvm_intel),
        Answer::Known(Some(VirtualisationFlag::Svm)) => ("kvm_amd", facts.host.modules.kvm_amd),
        Answer::Known(None) => return fail.with_fix("make the check 'cpu' pass first"),
        Answer::CannotSee => {
            return fail.with_fix("sudo dmesg | grep -i kvm, to see why the kernel has none");
        }
    };
    fail.with_fix(match state {
        Answer::Known(ModuleState::Available) => format!(
            "echo {module} | sudo tee /etc/modules-load.d/kvm.conf && sudo modprobe {module}"
        ),
        Answer::Known(ModuleState::Absent) => {
            format!("start a kernel that has KVM; this one was made without {module}")
        }
        // The module is there and refused the processor: the kernel's log says why.
        _ => "sudo dmesg | grep -i kvm, to see why; often virtualisation is off in the firmware"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    #[test]
    fn a_node_that_opens_passes() {
        assert_eq!(run(&sample::good()).state, State::Pass);
    }

    #[test]
    fn a_node_that_this_user_may_not_open_fails() {
        let mut facts = sample::good();
        facts.host.kvm_node = Answer::Known(KvmNode::NotPermitted);
        let fix = "sudo usermod -aG kvm \"$USER\", then log in again";
        assert_eq!(run(&facts).fix.as_deref(), Some(fix));
        assert_eq!(run(&facts).state, State::Fail);
    }

    #[test]
    fn a_module_that_is_not_loaded_is_the_fix() {
        let mut facts = sample::good();
        facts.host.kvm_node = Answer::Known(KvmNode::Absent);
        facts.host.modules.kvm_intel = Answer::Known(ModuleState::Available);
        let fix = "echo kvm_intel | sudo tee /etc/modules-load.d/kvm.conf && sudo modprobe \
                   kvm_intel";
        assert_eq!(
            run(&facts),
            Finding::fail("there is no /dev/kvm").with_fix(fix)
        );
    }

    #[test]
    fn a_hidden_dev_is_not_a_missing_kvm() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
