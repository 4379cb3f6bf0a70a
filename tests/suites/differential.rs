//! The predictor of IOMMU groups against Linux, on a dozen machines that are always the same.
//!
//! `scripts/differential` runs others.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on shall end"
)]

use vfioctl_core::Answer;
use vfioctl_core::Snapshot;
use vfioctl_core::acs::Acs;
use vfioctl_core::config::PcieType;
use vfioctl_core::pci::PciFunction;
use vfioctl_tests::differential::{COMBINATIONS, Case, is_boot_as_predicted};
use vfioctl_tests::suite::{run, trial};

/// Seeds of the dozen: three for each combination of kernel and IOMMU.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=12;
/// Machines that are shown wrongly to the predictor: each wrong must be noticed on one of them.
const SHOWN_WRONGLY: [u64; 3] = [1, 5, 8];

/// A wrong that is done to every function of a machine.
type Wrong = (&'static str, fn(&mut PciFunction));

const WRONGS: [Wrong; 4] = [
    ("no function has bit 7 of its header", |function| {
        function.multifunction_bit = Answer::Known(false);
    }),
    ("no function has ACS", |function| {
        function.acs = Answer::Known(None);
    }),
    ("every port has all ACS bits", |function| {
        if matches!(
            function.pcie_type,
            Answer::Known(Some(PcieType::RootPort | PcieType::DownstreamPort))
        ) {
            function.acs = Answer::Known(Some(Acs::new(0x5f, 0x5f)));
        }
    }),
    ("conventional functions are endpoints", |function| {
        if function.pcie_type == Answer::Known(None) {
            function.pcie_type = Answer::Known(Some(PcieType::Endpoint));
        }
    }),
];

fn case(seed: u64) -> Case {
    let at = usize::try_from(seed).unwrap() % COMBINATIONS.len();
    let (kernel, iommu) = *COMBINATIONS.get(at).unwrap();
    Case {
        seed,
        kernel,
        iommu,
    }
}

fn main() {
    let mut trials: Vec<_> = SEEDS
        .map(case)
        .map(|case| trial(case.to_string().replace(' ', "_"), move || equal(case)))
        .collect();
    trials.push(trial("a_wrong_picture_is_noticed", wrong_pictures));
    run(trials);
}

fn equal(case: Case) {
    let report = case.run().unwrap();
    eprintln!(
        "{case}: functions {}, actions {}, changing groups {}, {:.1} s",
        report.functions,
        report.actions,
        report.changing_actions,
        report.taken.as_secs_f64()
    );
    if let Some((text, folder)) = report.differences.first() {
        panic!("kept in {}\n{text}", folder.display());
    }
    assert!(report.is_boot_equal);
    assert_eq!(report.equal_actions, report.actions);
}

/// A comparison that could not fail would prove nothing.
fn wrong_pictures() {
    let machines = SHOWN_WRONGLY.map(|seed| case(seed).boot().unwrap());
    assert!(machines.iter().all(|it| is_boot_as_predicted(it, it)));
    for (what, wrong) in WRONGS {
        let noticed = machines.iter().filter(|machine| {
            let mut shown: Snapshot = (*machine).clone();
            shown.functions.values_mut().for_each(wrong);
            !is_boot_as_predicted(&shown, machine)
        });
        let count = noticed.count();
        eprintln!("{what}: noticed on {count} of {}", machines.len());
        assert!(count > 0, "{what}: nobody noticed");
    }
}
