//! Whether `qemu-img` is there.

use super::distribution::Package;
use super::program::{OLDEST_TESTED, find_version};
use super::{Check, Facts, Finding, ProgramState, Run};

pub(super) const CHECK: Check = Check {
    id: "qemu-img",
    title: "qemu-img",
    why: "'vfioctl image' creates and converts disk images with it; machines with images of their \
          own start without",
    looks_at: &["qemu-img --version"],
    rule: "Passes from version 7.2 on; warns where it is older, missing or does not run.",
    run: Run::Once(run),
};

const PACKAGE: Package = Package {
    debian: "qemu-utils",
    fedora: "qemu-img",
    arch: "qemu-img",
    // The package that has it changed its name; zypper finds it by the file.
    suse: "/usr/bin/qemu-img",
    words: "QEMU's disk image tool (qemu-img)",
};

fn run(facts: &Facts) -> Finding {
    let install = || facts.host.distribution.install(&PACKAGE);
    match &facts.programs.qemu_img {
        ProgramState::NotFound => Finding::warning("qemu-img is not in PATH").with_fix(install()),
        ProgramState::Failed(because) => {
            Finding::warning(format!("qemu-img does not run: {because}")).with_fix(install())
        }
        ProgramState::TimedOut => Finding::cannot_see("qemu-img did not answer in time"),
        ProgramState::Answered(line) => match find_version(line) {
            None => Finding::cannot_see(format!("qemu-img says no version: '{line}'")),
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

    fn with(qemu_img: ProgramState) -> Finding {
        let mut facts = sample::good();
        facts.programs.qemu_img = qemu_img;
        run(&facts)
    }

    #[test]
    fn a_missing_qemu_img_is_a_warning_with_the_command_that_installs_it() {
        assert_eq!(
            with(ProgramState::NotFound),
            Finding::warning("qemu-img is not in PATH").with_fix("sudo apt install qemu-utils")
        );
        assert_eq!(with(ProgramState::Failed("x".into())).state, State::Warning);
    }

    #[test]
    fn versions_are_told() {
        let answered = |version| {
            with(ProgramState::Answered(format!(
                "qemu-img version {version}"
            )))
        };
        assert_eq!(answered("7.2.0"), Finding::pass("7.2"));
        assert_eq!(answered("5.2.0").state, State::Warning);
        assert_eq!(with(ProgramState::TimedOut).state, State::CannotSee);
    }
}
