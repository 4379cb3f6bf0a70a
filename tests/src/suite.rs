//! Running trials: libtest's output, with the reason for everything that could not run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::fake::run_helper_if_asked;
use crate::world::{FakeWorld, is_root};

/// A restored machine has 2 GB, and the lab's own timings were taken with two at once.
const THREADS: usize = 2;

/// A trial that panics where it fails.
pub fn trial(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        catch_unwind(AssertUnwindSafe(run)).map_err(|panic| Failed::from(message(&*panic)))
    })
}

/// A trial that cannot run here, and why.
pub fn ignored(name: impl Into<String>, reason: impl Into<String>) -> Trial {
    let reason = reason.into();
    Trial::ignorable_test(name, move || Ok(Completion::ignored_with(reason)))
}

/// A name, and what is done on a machine with a fake kernel.
pub type FakeTest = (&'static str, fn(&FakeWorld));

/// Runs tests on the fake kernel, each on a machine of its own, and ends this process.
pub fn run_on_fake(tests: &[FakeTest]) -> ! {
    run_helper_if_asked();
    let trials = tests.iter().map(|(name, test)| match *test {
        test if is_root() => trial(*name, move || test(&FakeWorld::start())),
        _ => ignored(*name, "only root can act for several users"),
    });
    run(trials.collect())
}

/// Runs trials, and ends this process with their verdict.
pub fn run(trials: Vec<Trial>) -> ! {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    libtest_mimic::run(&arguments, trials).exit()
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "it panicked".to_owned())
}
