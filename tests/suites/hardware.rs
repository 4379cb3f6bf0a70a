//! Predicted groups beside those that Linux made: of invented machines in `fixtures/dumps/`, and of
//! real ones, whose dumps are not in the repository: a folder for each below the one that
//! `VFIOCTL_HARDWARE_DUMPS` names.
//!
//! A machine's folder has texts of lspci (`lspci-*.txt`, or `*.md` with one in it), and groups
//! (`groups.*.tsv`, `ADDRESS<TAB>GROUP`), of the text of the same name or of a kernel log; a text
//! can also have the groups in itself.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on shall end"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use serde_json::Value;
use vfioctl_tests::schema::assert_shape;
use vfioctl_tests::suite::{self, ignored, trial};

const VARIABLE: &str = "VFIOCTL_HARDWARE_DUMPS";

type Partition = BTreeSet<BTreeSet<String>>;

fn main() {
    let mut trials = invented();
    match std::env::var_os(VARIABLE) {
        Some(folder) => trials.extend(real(Path::new(&folder))),
        None => trials.push(ignored(
            "real_machines_are_predicted_as_linux_grouped_them",
            "VFIOCTL_HARDWARE_DUMPS names no folder of dumps",
        )),
    }
    suite::run(trials);
}

fn invented() -> Vec<Trial> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dumps");
    let texts = files(&folder).into_iter().filter(|file| is_text(file));
    texts
        .map(|file| {
            trial(format!("fixture {}", stem(&file)), move || {
                let groups = file.with_extension("groups.tsv");
                assert_equal(&predict(&file).unwrap(), &read_groups(&groups));
            })
        })
        .collect()
}

fn real(folder: &Path) -> Vec<Trial> {
    let mut trials = Vec::new();
    for machine in files(folder).into_iter().filter(|file| file.is_dir()) {
        let dumps = files(&machine).into_iter().filter(|file| is_dump(file));
        for dump in dumps {
            let name = format!("{} {}", stem(&machine), stem(&dump));
            trials.push(real_machine(name, &machine, &dump));
        }
    }
    if trials.is_empty() {
        trials.push(trial("the folder has dumps", || {
            panic!("no dump in {VARIABLE}")
        }));
    }
    trials
}

fn real_machine(name: String, machine: &Path, dump: &Path) -> Trial {
    let answer = match predict(dump) {
        Ok(answer) => answer,
        Err(because) => return ignored(name, format!("not to be predicted: {because}")),
    };
    let Some(kernel) = find_groups(machine, dump, &answer) else {
        return ignored(name, "nothing tells how Linux grouped this machine");
    };
    if let Some(missing) = what_is_missing(&answer) {
        return ignored(name, format!("not to be predicted: {missing}"));
    }
    trial(name, move || assert_equal(&answer, &kernel))
}

/// Runs the command's own code on a dump; the failure's message where it is none.
fn predict(file: &Path) -> Result<Value, String> {
    let arguments = ["vfioctl", "groups", "--json", "--dump"].map(OsString::from);
    let arguments = arguments.into_iter().chain([file.into()]).collect();
    let (mut answer, mut conversation) = (Vec::new(), Vec::new());
    let verdict = vfioctl_cli::run(arguments, &mut answer, &mut conversation);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    match verdict.status() {
        0 => {
            assert_shape("prediction", &answer);
            Ok(answer)
        }
        _ => Err(answer.pointer("/error/message").unwrap().to_string()),
    }
}

/// What a dump would have to show before anything could be said.
fn what_is_missing(answer: &Value) -> Option<String> {
    let names = |field: &str| -> Vec<String> {
        let all = answer.get(field).and_then(Value::as_array).unwrap();
        all.iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let (missing, uncertain) = (names("missing_bridges"), names("uncertain"));
    if !missing.is_empty() {
        return Some(format!(
            "{} bridges or their buses are not told",
            missing.len()
        ));
    }
    (!uncertain.is_empty()).then(|| {
        format!(
            "what decides over {} functions is not shown",
            uncertain.len()
        )
    })
}

/// The groups of the file of the same name; else those in the text; else those of the log of the
/// same kernel.
fn find_groups(machine: &Path, dump: &Path, answer: &Value) -> Option<Partition> {
    let own = machine.join(format!("groups.{}.tsv", stem(dump)));
    if own.exists() {
        return Some(read_groups(&own));
    }
    if let Some(groups) = answer.pointer("/kernel/groups") {
        return Some(partition(groups));
    }
    let version = stem(dump);
    let version = version.rsplit_once('-').map(|(_, last)| last.to_owned());
    let is_version = |text: &String| text.starts_with(|first: char| first.is_ascii_digit());
    let log = match version.filter(is_version) {
        Some(version) => machine.join(format!("groups.dmesg-pci-{version}.tsv")),
        None => machine.join("groups.dmesg-pci.tsv"),
    };
    let others = || {
        let mut all = files(machine).into_iter();
        all.find(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("groups.") && name.ends_with(".tsv")
        })
    };
    Some(log)
        .filter(|log| log.exists())
        .or_else(others)
        .map(|log| read_groups(&log))
}

fn read_groups(file: &Path) -> Partition {
    let text = std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("read {}: {error}", file.display()));
    let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (address, group) in text.lines().filter_map(|line| line.split_once('\t')) {
        groups.entry(group).or_default().insert(address.to_owned());
    }
    groups.into_values().collect()
}

fn partition(groups: &Value) -> Partition {
    let members = |group: &Value| {
        let all = group.as_array().unwrap().iter();
        all.map(|address| address.as_str().unwrap().to_owned())
            .collect()
    };
    groups.as_array().unwrap().iter().map(members).collect()
}

/// Compares over the functions that both know.
#[track_caller]
fn assert_equal(answer: &Value, kernel: &Partition) {
    let predicted = partition(answer.get("groups").unwrap());
    let known =
        |groups: &Partition| -> BTreeSet<String> { groups.iter().flatten().cloned().collect() };
    let both: BTreeSet<String> = known(&predicted)
        .intersection(&known(kernel))
        .cloned()
        .collect();
    assert!(!both.is_empty(), "no function is in both");
    let within = |groups: &Partition| -> Partition {
        let of_group = |group: &BTreeSet<String>| group.intersection(&both).cloned().collect();
        let mut all: Partition = groups.iter().map(of_group).collect();
        all.remove(&BTreeSet::new());
        all
    };
    let (predicted, kernel) = (within(&predicted), within(kernel));
    let only_in = |one: &Partition, other: &Partition| -> Vec<BTreeSet<String>> {
        one.difference(other).cloned().collect()
    };
    assert!(
        predicted == kernel,
        "predicted only: {:#?}\nthe kernel's only: {:#?}",
        only_in(&predicted, &kernel),
        only_in(&kernel, &predicted)
    );
}

fn is_text(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "txt")
}

fn is_dump(file: &Path) -> bool {
    let name = stem(file);
    match file.extension().and_then(|end| end.to_str()) {
        Some("txt") => name.starts_with("lspci") || name.starts_with("iommu-groups"),
        Some("md") => name != "README",
        _ => false,
    }
}

/// What is in a folder, in the order of names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn stem(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}
