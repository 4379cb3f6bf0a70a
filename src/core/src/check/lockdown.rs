//! Whether the kernel keeps writes to config space from root.

use crate::Answer;

use super::{Check, Facts, Finding, Lockdown, Run};

pub(super) const CHECK: Check = Check {
    id: "lockdown",
    title: "kernel lockdown",
    why: "a locked-down kernel refuses all writes to config space, so ACS cannot be changed at run \
          time; binding a device and starting a machine still work",
    looks_at: &[
        "/sys/kernel/security/lockdown",
        "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
    ],
    rule: "Passes where lockdown is 'none' or the kernel has none; warns otherwise.",
    run: Run::Once(run),
};

fn run(facts: &Facts) -> Finding {
    let boot = match facts.host.secure_boot {
        Answer::Known(true) => "; Secure Boot is on",
        Answer::Known(false) => "; Secure Boot is off",
        Answer::CannotSee => "",
    };
    let level = match facts.host.lockdown {
        Answer::CannotSee => {
            return Finding::cannot_see(format!("securityfs is not mounted here{boot}"));
        }
        Answer::Known(None | Some(Lockdown::None)) => {
            return Finding::pass(format!("none{boot}"));
        }
        Answer::Known(Some(Lockdown::Integrity)) => "integrity",
        Answer::Known(Some(Lockdown::Confidentiality)) => "confidentiality",
    };
    // Ways that leave Secure Boot as it is come first.
    let fix = "set ACS with 'pci=config_acs=' on the kernel command line instead of at run time; \
               only where that is not enough, switch Secure Boot off in the firmware setup and \
               take 'lockdown=' off the kernel command line";
    Finding::warning(format!("{level}{boot}")).with_fix(fix)
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    fn with(lockdown: Option<Lockdown>) -> Finding {
        let mut facts = sample::good();
        facts.host.lockdown = Answer::Known(lockdown);
        facts.host.secure_boot = Answer::Known(true);
        run(&facts)
    }

    #[test]
    fn a_kernel_that_is_not_locked_passes() {
        assert_eq!(with(None), Finding::pass("none; Secure Boot is on"));
        assert_eq!(with(Some(Lockdown::None)).state, State::Pass);
    }

    #[test]
    fn a_locked_kernel_is_a_warning() {
        assert_eq!(
            with(Some(Lockdown::Integrity)).found,
            "integrity; Secure Boot is on"
        );
        assert_eq!(with(Some(Lockdown::Confidentiality)).state, State::Warning);
    }

    #[test]
    fn a_hidden_lockdown_is_not_none() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
