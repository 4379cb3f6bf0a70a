//! The cases: what the product does, written once for all worlds.
//!
//! A new case is a function `fn(&dyn World)` and a line in the list of its file.

mod acs;
mod bind;
mod container;
mod container_life;
mod crash;
mod fault;
mod lab_crash;
mod machine;
mod pin;
mod refuse;
mod shape;
mod together;

use libtest_mimic::Trial;

use crate::suite::{ignored, trial};
use crate::world::{FakeWorld, LabWorld, World, is_root};

/// A case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    name: &'static str,
    runs: Runs,
    run: fn(&dyn World),
}

/// Where a case can be run, and why not elsewhere.
#[derive(Debug, Clone, Copy)]
enum Runs {
    Both,
    FakeOnly(&'static str),
    LabOnly(&'static str),
}

const fn both(name: &'static str, run: fn(&dyn World)) -> Case {
    let runs = Runs::Both;
    Case { name, runs, run }
}

const fn fake_only(name: &'static str, reason: &'static str, run: fn(&dyn World)) -> Case {
    let runs = Runs::FakeOnly(reason);
    Case { name, runs, run }
}

const fn lab_only(name: &'static str, reason: &'static str, run: fn(&dyn World)) -> Case {
    let runs = Runs::LabOnly(reason);
    Case { name, runs, run }
}

/// All cases, once for each world.
pub fn trials() -> Vec<Trial> {
    let files = [
        acs::CASES,
        bind::CASES,
        container::CASES,
        container_life::CASES,
        refuse::CASES,
        together::CASES,
        fault::CASES,
        crash::CASES,
        pin::CASES,
        lab_crash::CASES,
        machine::CASES,
        shape::CASES,
    ];
    let cases: Vec<Case> = files.concat();
    let of_fake = cases.iter().map(|case| case.in_fake_world());
    let of_lab = cases.iter().map(|case| case.in_lab());
    of_fake.chain(of_lab).collect()
}

impl Case {
    fn in_fake_world(&self) -> Trial {
        let name = format!("fake::{}", self.name);
        let run = self.run;
        match self.runs {
            Runs::LabOnly(reason) => ignored(name, reason),
            // Several users are what most cases are about.
            _ if !is_root() => ignored(name, "only root can act for several users"),
            _ => trial(name, move || run(&FakeWorld::start())),
        }
    }

    fn in_lab(&self) -> Trial {
        let name = format!("lab::{}", self.name);
        let run = self.run;
        match self.runs {
            Runs::FakeOnly(reason) => ignored(name, reason),
            _ => trial(name, move || run(&LabWorld::start())),
        }
    }
}

/// The first graphics card: its display function.
const GPU: &str = "0000:01:00.0";
/// Its audio function.
const AUDIO: &str = "0000:01:00.1";
