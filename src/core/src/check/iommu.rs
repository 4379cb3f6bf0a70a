//! Whether an IOMMU is on.

use crate::Answer;
use crate::iommu::GroupIndex;

use super::{Check, Facts, Finding, Run};

pub(super) const CHECK: Check = Check {
    id: "iommu",
    title: "IOMMU",
    why: "a device reads and writes memory by itself; only an IOMMU keeps one that a guest drives \
          inside that guest's memory",
    looks_at: &[
        "/sys/kernel/iommu_groups/, through each function's 'iommu_group'",
        "/sys/class/iommu/",
        "/sys/firmware/acpi/tables/: DMAR (Intel), IVRS (AMD), IORT (Arm); their names are enough",
        "/proc/cmdline: 'intel_iommu=', 'amd_iommu=', 'iommu='",
    ],
    rule: "Passes where the kernel has made IOMMU groups. Where it has not, fails, and tells an \
           IOMMU that firmware keeps off from one that the kernel does not use.",
    run: Run::Once(run),
};

fn run(facts: &Facts) -> Finding {
    if facts.is_pci_hidden() {
        return Finding::cannot_see("the PCI functions of this machine could not be read");
    }
    let groups = GroupIndex::of(&facts.snapshot).groups().count();
    if groups > 0 {
        let names = match &facts.host.iommus {
            Answer::Known(names) if !names.is_empty() => format!("{}, ", names.join(", ")),
            _ => String::new(),
        };
        return Finding::pass(format!("on: {names}{groups} groups"));
    }
    if facts.snapshot.functions.is_empty() {
        return Finding::fail("this machine shows no PCI devices")
            .with_fix("run vfioctl on the host itself, not in a guest or container without PCI");
    }
    match &facts.host.iommu_tables {
        Answer::Known(tables) if tables.is_empty() => {
            Finding::fail("off in the firmware: there is no ACPI table DMAR, IVRS or IORT")
                .with_fix(firmware_fix(facts))
        }
        Answer::Known(tables) => {
            let (why, fix) = unused(facts);
            Finding::fail(format!("firmware offers it ({}), {why}", tables.join(", ")))
                .with_fix(fix)
        }
        Answer::CannotSee => {
            let (why, fix) = unused(facts);
            Finding::fail(format!(
                "off: there is no IOMMU group; whether firmware offers one cannot be seen; {why}"
            ))
            .with_fix(format!("{}; then: {fix}", firmware_fix(facts)))
        }
    }
}

fn vendor(facts: &Facts) -> &str {
    match &facts.host.cpu {
        Answer::Known(cpu) => &cpu.vendor,
        Answer::CannotSee => "",
    }
}

fn firmware_fix(facts: &Facts) -> String {
    if matches!(&facts.host.cpu, Answer::Known(cpu) if cpu.is_guest) {
        return "this machine is itself a guest: give it an IOMMU on its host (QEMU: '-device \
                intel-iommu,intremap=on,caching-mode=on')"
            .to_owned();
    }
    let name = match vendor(facts) {
        "GenuineIntel" => "'VT-d' ('Intel VT for Directed I/O')",
        "AuthenticAMD" | "HygonGenuine" => {
            "'IOMMU' (often under 'AMD CBS', 'NBIO'; 'Enabled', not 'Auto')"
        }
        _ => "the IOMMU ('VT-d', 'AMD-Vi', 'SMMU')",
    };
    format!("switch on {name} in the firmware setup, then switch the machine off and on")
}

/// Why the kernel does not use an IOMMU that is there, and what to do.
fn unused(facts: &Facts) -> (String, String) {
    let distribution = &facts.host.distribution;
    let Answer::Known(line) = &facts.host.command_line else {
        return (
            "the kernel command line cannot be seen".to_owned(),
            distribution.switch_iommu_on(&distribution.add_kernel_parameter("intel_iommu=on")),
        );
    };
    for name in ["iommu", "intel_iommu", "amd_iommu"] {
        if line.has_option(name, "off") {
            return (
                format!("and '{name}=off' is on the kernel command line"),
                distribution
                    .switch_iommu_on(&distribution.remove_kernel_parameter(&format!("{name}=off"))),
            );
        }
    }
    // AMD's driver is on by itself; Intel's only where the kernel was made so
    // (CONFIG_INTEL_IOMMU_DEFAULT_ON).
    if vendor(facts) == "GenuineIntel" && !line.has_option("intel_iommu", "on") {
        return (
            "and 'intel_iommu=on' is not on the kernel command line".to_owned(),
            distribution.switch_iommu_on(&distribution.add_kernel_parameter("intel_iommu=on")),
        );
    }
    (
        "and the kernel does not use it".to_owned(),
        "sudo dmesg | grep -i -e DMAR -e AMD-Vi -e IOMMU, to see why".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{CommandLine, State, sample};
    use super::*;

    #[test]
    fn groups_are_the_proof() {
        assert_eq!(
            run(&sample::good()),
            Finding::pass("on: dmar0, dmar1, 3 groups")
        );
    }

    #[test]
    fn a_missing_parameter_is_named_and_added() {
        let fix = "sudo grubby --update-kernel=ALL --args=intel_iommu=on && sudo reboot";
        let mut facts = sample::bare_on("fedora");
        facts.host.iommu_tables = Answer::Known(vec!["DMAR".to_owned()]);
        assert_eq!(
            run(&facts),
            Finding::fail(
                "firmware offers it (DMAR), and 'intel_iommu=on' is not on the kernel command line"
            )
            .with_fix(fix)
        );
    }

    #[test]
    fn on_debian_the_setup_is_named() {
        let mut facts = sample::bare();
        facts.host.iommu_tables = Answer::Known(vec!["DMAR".to_owned()]);
        let names_it =
            |fix: &str| fix.starts_with("sudo vfioctl setup && sudo reboot; or by hand: ");
        assert!(run(&facts).fix.is_some_and(|fix| names_it(&fix)));
        facts.host.command_line = Answer::Known(CommandLine::new("intel_iommu=off"));
        assert!(run(&facts).fix.is_some_and(|fix| names_it(&fix)));
    }

    #[test]
    fn a_parameter_that_switches_it_off_is_taken_away() {
        let mut facts = sample::bare_on("fedora");
        facts.host.iommu_tables = Answer::Known(vec!["IVRS".to_owned()]);
        facts.host.command_line = Answer::Known(CommandLine::new("quiet amd_iommu=off"));
        let fix = "sudo grubby --update-kernel=ALL --remove-args=amd_iommu=off && sudo reboot";
        assert_eq!(run(&facts).fix.as_deref(), Some(fix));
    }

    #[test]
    fn an_iommu_that_firmware_keeps_off_is_told_apart() {
        let finding = run(&sample::bare());
        let found = "off in the firmware: there is no ACPI table DMAR, IVRS or IORT";
        assert_eq!(
            (finding.state, finding.found.as_str()),
            (State::Fail, found)
        );
    }

    #[test]
    fn functions_that_could_not_be_read_are_not_a_missing_iommu() {
        assert_eq!(run(&sample::unseen()).state, State::CannotSee);
    }
}
