//! The inputs that fuzzing has kept (`fuzz/corpus/`), once more and without a fuzzer: what was
//! found hostile stays harmless. `scripts/fuzz` looks for new ones.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall end")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use libtest_mimic::Trial;
use vfioctl_tests::suite::{self, trial};

#[path = "../fuzz/runs/acs_words.rs"]
mod acs_words;
#[path = "../fuzz/runs/config_space.rs"]
mod config_space;
#[path = "../fuzz/runs/dump.rs"]
mod dump;
#[path = "../fuzz/runs/grouping.rs"]
mod grouping;

fn main() {
    suite::run(vec![
        replay("acs_words", acs_words::run),
        replay("config_space", config_space::run),
        replay("dump", dump::run),
        replay("grouping", grouping::run),
    ]);
}

fn replay(target: &'static str, run: fn(&[u8])) -> Trial {
    trial(format!("kept_inputs_of_{target}_are_harmless"), move || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut count = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().path();
            let bytes = fs::read(&file).unwrap();
            assert!(
                catch_unwind(|| run(&bytes)).is_ok(),
                "{} does harm; its reason stands above",
                file.display()
            );
            count += 1;
        }
        assert!(count > 0, "no input in {}", folder.display());
    })
}
