//! The one list of checks.

use super::{
    Facts, Finding, Row, acs_override, cpu, drivers, gpus, groups, helper, iommu, iommufd,
    iso_tool, isolation, kvm, lockdown, memory_lock, ovmf, qemu, qemu_img, vfio,
};

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name for programs; never changes.
    pub id: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What it is decided by: kernel files, folders, programs.
    pub looks_at: &'static [&'static str],
    /// When it passes, warns and fails.
    pub rule: &'static str,
    /// The decision.
    pub run: Run,
}

/// How a check decides.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// Once for the machine.
    Once(fn(&Facts) -> Finding),
    /// Once for each device it is about; at least one finding.
    Each(fn(&Facts) -> Vec<Finding>),
}

/// Every check, in the order in which they are printed: what the next ones rest on first.
pub const REGISTRY: &[Check] = &[
    cpu::CHECK,
    kvm::CHECK,
    iommu::CHECK,
    groups::CHECK,
    acs_override::CHECK,
    isolation::CHECK,
    vfio::CHECK,
    iommufd::CHECK,
    gpus::CHECK,
    drivers::CHECK,
    qemu::CHECK,
    qemu_img::CHECK,
    ovmf::CHECK,
    iso_tool::CHECK,
    memory_lock::CHECK,
    lockdown::CHECK,
    helper::CHECK,
];

/// Runs the checks that are wanted, in the order of the registry.
pub fn rows(facts: &Facts, is_wanted: impl Fn(&Check) -> bool) -> Vec<Row> {
    REGISTRY
        .iter()
        .filter(|check| is_wanted(check))
        .flat_map(|check| check.rows(facts))
        .collect()
}

impl Check {
    fn rows(&self, facts: &Facts) -> Vec<Row> {
        let findings = match self.run {
            Run::Once(run) => vec![run(facts)],
            Run::Each(run) => run(facts),
        };
        let row = |finding: Finding| Row {
            id: self.id,
            title: match finding.subject {
                Some(address) => format!("{} {address}", self.title),
                None => self.title.to_owned(),
            },
            why: self.why,
            finding,
        };
        findings.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{State, Verdict, sample, verdict};
    use super::*;

    #[test]
    fn a_machine_in_good_order_passes_every_check() {
        let rows = rows(&sample::good(), |_| true);
        let odd: Vec<&Row> = rows
            .iter()
            .filter(|row| row.finding.state != State::Pass)
            .collect();
        assert_eq!(odd, Vec::<&Row>::new());
        assert_eq!(verdict(&rows), Verdict::Pass);
    }

    #[test]
    fn a_machine_that_shows_nothing_neither_passes_nor_fails() {
        let rows = rows(&sample::unseen(), |_| true);
        let odd: Vec<&Row> = rows
            .iter()
            .filter(|row| row.finding.state != State::CannotSee)
            .collect();
        assert_eq!(odd, Vec::<&Row>::new());
    }

    #[test]
    fn only_the_wanted_checks_run() {
        let rows = rows(&sample::good(), |check| check.id == "kvm");
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), ["kvm"]);
    }

    #[test]
    fn every_check_has_a_name_of_its_own_and_at_least_one_row() {
        let facts = sample::good();
        let names: BTreeSet<&str> = REGISTRY.iter().map(|check| check.id).collect();
        assert_eq!(names.len(), REGISTRY.len());
        for check in REGISTRY {
            assert!(!check.rows(&facts).is_empty(), "{}", check.id);
            assert!(
                !check.why.is_empty() && !check.rule.is_empty(),
                "{}",
                check.id
            );
        }
    }

    #[test]
    fn everything_that_failed_says_what_to_do() {
        for facts in [
            sample::bare(),
            sample::bare_on("fedora"),
            sample::bare_on("nixos"),
        ] {
            for row in rows(&facts, |_| true) {
                if row.finding.state == State::Fail {
                    assert!(row.finding.fix.is_some(), "{row:?}");
                }
            }
        }
    }
}
