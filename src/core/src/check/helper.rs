//! Whether the privileged helper answers.

use super::{Check, Facts, Finding, HelperState, Run};

pub(super) const CHECK: Check = Check {
    id: "helper",
    title: "helper",
    why: "giving a device away needs privilege, and only vfioctl-helper has it; without it vfioctl \
          can look, and sees less",
    looks_at: &["/run/vfioctl/helper.sock: io.vfioctl.Inventory.GetVersion"],
    rule: "Passes where it answers this user and is not older than this command; fails otherwise.",
    run: Run::Once(run),
};

fn run(facts: &Facts) -> Finding {
    match &facts.helper {
        HelperState::Answers { version, level } => {
            Finding::pass(format!("version {version}, level {level}"))
        }
        HelperState::NotRunning => Finding::fail("vfioctl-helper does not listen")
            .with_fix("sudo systemctl enable --now vfioctl-helper.socket"),
        HelperState::NotPermitted => Finding::fail("this user may not call vfioctl-helper")
            .with_fix("sudo usermod -aG vfioctl \"$USER\", then log in again"),
        HelperState::TooOld {
            version,
            level,
            needed,
        } => Finding::fail(format!(
            "version {version} has level {level}, this command needs {needed}"
        ))
        .with_fix(
            "install the helper of this version, then sudo systemctl restart vfioctl-helper.socket \
             vfioctl-helper.service",
        ),
        HelperState::Unknown => Finding::cannot_see("vfioctl-helper was not asked"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, sample};
    use super::*;

    fn with(helper: HelperState) -> Finding {
        run(&Facts {
            helper,
            ..sample::good()
        })
    }

    #[test]
    fn each_state_of_the_helper_is_told_apart() {
        let version = || "0.1.0".to_owned();
        let answers = HelperState::Answers {
            version: version(),
            level: 1,
        };
        let too_old = HelperState::TooOld {
            version: version(),
            level: 1,
            needed: 2,
        };
        assert_eq!(with(answers), Finding::pass("version 0.1.0, level 1"));
        assert_eq!(
            with(too_old).found,
            "version 0.1.0 has level 1, this command needs 2"
        );
        assert_eq!(with(HelperState::NotRunning).state, State::Fail);
        assert_eq!(with(HelperState::NotPermitted).state, State::Fail);
        assert_eq!(with(HelperState::Unknown).state, State::CannotSee);
    }
}
