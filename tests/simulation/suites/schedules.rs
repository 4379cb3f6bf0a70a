//! Random schedules: a thousand, and those that once went wrong.
//!
//! `VFIOCTL_SIMULATION_SEED` runs one seed; `VFIOCTL_SIMULATION_COUNT` runs another number of them, and
//! `VFIOCTL_SIMULATION_FIRST` others.

use libtest_mimic::{Arguments, Failed, Trial};
use vfioctl_simulation::{Outcome, Schedule, run};

/// Seeds that once showed a defect, with what it was.
const KEPT: &[(u64, &str)] = &[
    (54, "removed_twice_where_the_answer_was_lost"),
    (351, "workers_outlive_their_runner"),
    (497, "forgotten_while_it_was_ordered_to_be_removed"),
    (667, "removed_before_it_had_a_node"),
    (101_526, "a_later_run_that_did_not_start_forgets_the_disk"),
];

/// Schedules of one trial: trials run side by side.
const CHUNK: u64 = 50;
/// Schedules in all.
const COUNT: u64 = 1000;

fn main() {
    let arguments = Arguments::from_args();
    // One that is looked at by itself tells its story.
    if std::env::var_os("VFIOCTL_SIMULATION_SEED").is_none() {
        vfioctl_host::log::keep_quiet();
        vfioctl_runner::log::keep_quiet();
    }
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let mut trials = Vec::new();
    if let Some(seed) = number("VFIOCTL_SIMULATION_SEED") {
        trials.push(Trial::test(format!("seed_{seed}"), move || check(seed, 1)));
    } else {
        for (seed, defect) in KEPT {
            trials.push(Trial::test(format!("kept_{seed}_{defect}"), move || {
                check(*seed, 1)
            }));
        }
        let count = number("VFIOCTL_SIMULATION_COUNT").unwrap_or(COUNT);
        let start = number("VFIOCTL_SIMULATION_FIRST").unwrap_or(0);
        let end = start + count;
        for first in (start..end).step_by(usize::try_from(CHUNK).unwrap_or(1)) {
            let last = (first + CHUNK).min(end);
            trials.push(Trial::test(
                format!("schedules_{first}_to_{}", last - 1),
                move || check(first, last - first),
            ));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn check(first: u64, count: u64) -> Result<(), Failed> {
    let mut total = Outcome::default();
    for seed in first..first + count {
        let outcome = run(Schedule {
            is_told: std::env::var_os("VFIOCTL_SIMULATION_SEED").is_some(),
            ..Schedule::of(seed)
        });
        if !outcome.problems.is_empty() {
            let problems = outcome.problems.join("\n  ");
            return Err(format!(
                "seed {seed} ({} tasks, {} kills):\n  {problems}\nsee it again: VFIOCTL_SIMULATION_SEED={seed}",
                outcome.tasks, outcome.kills
            )
            .into());
        }
        total.tasks += outcome.tasks;
        total.begun += outcome.begun;
        total.kills += outcome.kills;
        for (state, number) in outcome.states {
            *total.states.entry(state).or_default() += number;
        }
    }
    eprintln!(
        "{count} schedules from seed {first}: {} tasks, {} runs, {} kills; {:?}",
        total.tasks, total.begun, total.kills, total.states
    );
    Ok(())
}
