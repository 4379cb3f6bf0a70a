//! Whether the kernel was told to believe in isolation that hardware does not give.
//!
//! `pcie_acs_override=` was never part of Linux; some distributions carry the patch. It writes no
//! register: it makes the kernel assume ACS where a device has none, so groups come out smaller
//! than the hardware separates. Other kernels ignore the parameter, with one line in their log.

use crate::Answer;

use super::{Check, Facts, Finding, Run};

pub(super) const CHECK: Check = Check {
    id: "acs-override",
    title: "ACS override",
    why: "'pcie_acs_override=' splits groups by assertion: devices that the kernel then calls \
          separate may still reach each other's memory past the IOMMU, out of a guest too",
    looks_at: &[
        "/proc/cmdline: 'pcie_acs_override='",
        "/proc/kallsyms: whether this kernel has code for it (read only where the parameter is \
         given)",
    ],
    rule: "Passes where the parameter is not given. Warns where this kernel honours it (groups are \
           not proof of isolation) and where this kernel ignores it (it does nothing).",
    run: Run::Once(run),
};

const PARAMETER: &str = "pcie_acs_override";

fn run(facts: &Facts) -> Finding {
    let Answer::Known(line) = &facts.host.command_line else {
        return Finding::cannot_see("the kernel command line cannot be read");
    };
    let Some(value) = line.value(PARAMETER) else {
        return Finding::pass("not on the kernel command line");
    };
    let given = format!("'{PARAMETER}={value}'");
    let remove = facts.host.distribution.remove_kernel_parameter(PARAMETER);
    match facts.host.has_acs_override {
        Answer::Known(true) => Finding::warning(format!(
            "{given} is given and this kernel honours it: groups are separated by assertion, not \
             by hardware"
        ))
        .with_fix(format!("for guests that you do not trust: {remove}")),
        Answer::Known(false) => Finding::warning(format!(
            "{given} is given and this kernel ignores it: it has no code for it"
        ))
        .with_fix(remove),
        Answer::CannotSee => Finding::cannot_see(format!(
            "{given} is given; whether this kernel honours it cannot be seen"
        ))
        .with_fix("sudo dmesg | grep -i -e 'ACS overrides' -e 'Unknown kernel command line'"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CommandLine, State, sample};
    use super::*;

    fn with_parameter(has_acs_override: Answer<bool>) -> Finding {
        let mut facts = sample::good();
        facts.host.command_line = Answer::Known(CommandLine::new(
            "quiet pcie_acs_override=downstream,multifunction",
        ));
        facts.host.has_acs_override = has_acs_override;
        run(&facts)
    }

    #[test]
    fn a_machine_without_the_parameter_passes() {
        assert_eq!(
            run(&sample::good()),
            Finding::pass("not on the kernel command line")
        );
    }

    #[test]
    fn honoured_and_ignored_are_told_apart() {
        let honoured = with_parameter(Answer::Known(true));
        let ignored = with_parameter(Answer::Known(false));
        assert_eq!(
            (honoured.state, ignored.state),
            (State::Warning, State::Warning)
        );
        assert_eq!(
            ignored.found,
            "'pcie_acs_override=downstream,multifunction' is given and this kernel ignores it: it \
             has no code for it"
        );
        assert_ne!(honoured.found, ignored.found);
    }

    #[test]
    fn a_kernel_without_symbols_cannot_be_judged() {
        assert_eq!(with_parameter(Answer::CannotSee).state, State::CannotSee);
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
