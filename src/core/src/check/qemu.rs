//! Whether QEMU is there and new enough.

use super::distribution::Package;
use super::program::{OLDEST_TESTED, find_version};
use super::{Check, Facts, Finding, ProgramState, Run};

pub(super) const CHECK: Check = Check {
    id: "qemu",
    title: "QEMU",
    why: "QEMU is the program that a machine with a passed device runs in",
    looks_at: &["qemu-system-x86_64 --version"],
    rule: "Passes from version 7.2 on, the oldest that vfioctl is tested with; warns below; fails \
           where there is none or it does not run.",
    run: Run::Once(run),
};

const PACKAGE: Package = Package {
    debian: "qemu-system-x86",
    fedora: "qemu-kvm",
    arch: "qemu-base",
    suse: "qemu-x86",
    words: "QEMU for x86 (qemu-system-x86_64)",
};

fn run(facts: &Facts) -> Finding {
    let install = || facts.host.distribution.install(&PACKAGE);
    match &facts.programs.qemu {
        ProgramState::NotFound => {
            Finding::fail("qemu-system-x86_64 is not in PATH").with_fix(install())
        }
        ProgramState::Failed(because) => {
            Finding::fail(format!("qemu-system-x86_64 does not run: {because}")).with_fix(install())
        }
        ProgramState::TimedOut => Finding::cannot_see("qemu-system-x86_64 did not answer in time"),
        ProgramState::Answered(line) => match find_version(line) {
            None => Finding::cannot_see(format!("qemu-system-x86_64 says no version: '{line}'")),
            Some(version) if version < OLDEST_TESTED => Finding::warning(format!(
                "{version} is older than {OLDEST_TESTED}, the oldest that vfioctl is tested with"
            ))
            .with_fix(install()),
            Some(version) => Finding::pass(version.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    fn with(qemu: ProgramState) -> Finding {
        let mut facts = sample::good();
        facts.programs.qemu = qemu;
        run(&facts)
    }

    fn answered(version: &str) -> Finding {
        with(ProgramState::Answered(format!(
            "QEMU emulator version {version}"
        )))
    }

    #[test]
    fn old_versions_are_a_warning() {
        assert_eq!(answered("7.2.13"), Finding::pass("7.2"));
        assert_eq!(answered("10.1.0"), Finding::pass("10.1"));
        assert_eq!(answered("6.2.0").state, State::Warning);
    }

    #[test]
    fn a_missing_qemu_fails_with_the_command_that_installs_it() {
        assert_eq!(
            with(ProgramState::NotFound),
            Finding::fail("qemu-system-x86_64 is not in PATH")
                .with_fix("sudo apt install qemu-system-x86")
        );
        assert_eq!(with(ProgramState::Failed("x".into())).state, State::Fail);
    }

    #[test]
    fn a_qemu_that_says_nothing_cannot_be_seen() {
        assert_eq!(with(ProgramState::TimedOut).state, State::CannotSee);
        assert_eq!(answered("").state, State::CannotSee);
    }
}
