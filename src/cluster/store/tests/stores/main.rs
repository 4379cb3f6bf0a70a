//! The stores as others see them: the contract on each of them, with a real file and a real etcd;
//! processes that are killed, disks that are full, and etcd behind a line that is cut.
//!
//! etcd is the one that is installed, or Debian's, unpacked below `target/`; where there is neither,
//! and where something else cannot be had, what needs it is reported as skipped, with the reason.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on shall end"
)]

#[cfg(feature = "etcd")]
mod access;
#[cfg(feature = "etcd")]
mod etcd;
mod full;
mod ground;
mod killed;
#[cfg(feature = "etcd")]
mod line;
#[cfg(feature = "etcd")]
mod server;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Builder;
use vfioctl_store::contract::{CASES, Case, Ground, RESTART_CASES};

use ground::{Embedded, Memory};

fn main() {
    killed::run_if_asked();
    full::run_if_asked();
    let mut trials = Vec::new();
    for case in CASES {
        trials.push(contract("memory", case, || Arc::new(Memory)));
    }
    for case in RESTART_CASES {
        let why = "a store in memory is not there again";
        trials.push(skipped(&format!("memory::{}", case.name), why));
    }
    for case in CASES.iter().chain(RESTART_CASES) {
        trials.push(contract("embedded", case, || Arc::new(Embedded::new())));
    }
    trials.extend([killed::trial(), full::trial()]);
    trials.extend(etcd_trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

#[cfg(feature = "etcd")]
fn etcd_trials() -> Vec<Trial> {
    let cases = CASES.iter().chain(RESTART_CASES);
    let cases = cases.map(|case| contract("etcd", case, || Arc::new(etcd::Etcd::new())));
    let trials = cases.chain(etcd::trials()).chain(access::trials());
    match server::find() {
        Ok(()) => trials.collect(),
        Err(why) => trials.map(|trial| skipped(trial.name(), &why)).collect(),
    }
}

#[cfg(not(feature = "etcd"))]
fn etcd_trials() -> Vec<Trial> {
    vec![skipped("etcd", "this was built without the feature 'etcd'")]
}

/// A case of the contract on a ground of its own.
fn contract(store: &str, case: &'static Case, ground: fn() -> Arc<dyn Ground>) -> Trial {
    trial(&format!("{store}::{}", case.name), move || async move {
        case.run(ground()).await
    })
}

/// A trial that panics where it fails, in a runtime of its own.
fn trial<F: Future<Output = ()>>(name: &str, run: impl Fn() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let run = || {
            let runtime = Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
            runtime.unwrap().block_on(run());
        };
        // What it panicked with is on stderr, with its place.
        catch_unwind(AssertUnwindSafe(run)).map_err(|_| Failed::from("it panicked"))
    })
}

/// A trial that cannot run here, and why.
fn skipped(name: &str, why: &str) -> Trial {
    let why = why.to_owned();
    Trial::ignorable_test(name, move || Ok(Completion::ignored_with(why)))
}
