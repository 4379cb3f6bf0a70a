//! `/proc/cpuinfo`: whether the processor can run guests.
//!
//! x86 prints `flags`; `vmx` is there only where firmware left VT-x on (since 5.6,
//! `arch/x86/kernel/cpu/feat_ctl.c`). Other architectures print other lines.

use vfioctl_core::Answer;
use vfioctl_core::check::{CpuFacts, VirtualisationFlag};

use crate::SysRoot;

pub(super) fn read_cpu(root: &SysRoot) -> Answer<CpuFacts> {
    match super::seen(root.proc.read_text("cpuinfo")) {
        Answer::Known(text) => parse_cpuinfo(&text),
        Answer::CannotSee => Answer::CannotSee,
    }
}

/// Takes the first processor: Linux does not run on a mixture.
fn parse_cpuinfo(text: &str) -> Answer<CpuFacts> {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim())
        })
    };
    let Some(flags) = value("flags") else {
        return Answer::CannotSee;
    };
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let virtualisation = match (has("vmx"), has("svm")) {
        (true, _) => Some(VirtualisationFlag::Vmx),
        (false, true) => Some(VirtualisationFlag::Svm),
        (false, false) => None,
    };
    Answer::Known(CpuFacts {
        vendor: value("vendor_id").unwrap_or_default().to_owned(),
        virtualisation,
        is_guest: has("hypervisor"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_whole_words() {
        let text =
            "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu svm_lock hypervisor\n";
        let cpu = CpuFacts {
            vendor: "AuthenticAMD".to_owned(),
            virtualisation: None,
            is_guest: true,
        };
        assert_eq!(parse_cpuinfo(text), Answer::Known(cpu));
    }

    #[test]
    fn an_arm_processor_shows_no_flags() {
        assert_eq!(
            parse_cpuinfo("processor\t: 0\nFeatures\t: fp asimd\n"),
            Answer::CannotSee
        );
    }
}
