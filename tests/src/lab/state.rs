//! Saved states: the memory of a machine that has booted, to start the next one from.
//!
//! A state lies beside the image that it belongs to. It is made by whoever needs it first; others
//! wait for that one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use super::error::{Error, Result, Wrap};
use super::image::Image;
use super::qmp::Qmp;

const SAVE_LIMIT: Duration = Duration::from_secs(60);
const RESTORE_LIMIT: Duration = Duration::from_secs(60);

/// States are 200 MB each, and each change of the product makes a new one.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Names the file of a state, and calls `make` with that name where the file is missing.
pub(crate) fn find_or_make(
    image: &Image,
    name: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = image.file("states");
    let path = folder.join(name);
    let lock_path = folder.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).wrap_path("create", &lock_path)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).wrap_path("lock", &lock_path)?;
    if !path.exists() {
        let part = folder.join(format!("{name}.part"));
        make(&part)?;
        std::fs::rename(&part, &path).wrap_path("rename", &part)?;
        remove_old(&folder);
    }
    // Its age counts from its last use.
    let now = SystemTime::now();
    File::options()
        .append(true)
        .open(&path)
        .and_then(|file| file.set_modified(now))
        .wrap_path("touch", &path)?;
    Ok(path)
}

/// Stops the machine and writes its memory and devices to a file.
pub(crate) fn save(qmp: &mut Qmp, path: &Path) -> Result<()> {
    qmp.execute("stop", json!({}))?;
    // The default limit is meant for networks.
    qmp.execute(
        "migrate-set-parameters",
        json!({ "max-bandwidth": 10_000_000_000_u64 }),
    )?;
    qmp.execute(
        "migrate",
        json!({ "uri": format!("exec:cat >{}", quote(path)) }),
    )?;
    let end = Instant::now() + SAVE_LIMIT;
    while Instant::now() < end {
        let answer = qmp.execute("query-migrate", json!({}))?;
        match answer.get("status").and_then(Value::as_str) {
            Some("completed") => return Ok(()),
            Some("failed") => return Err(Error::new(format!("saving the lab failed: {answer}"))),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Err(Error::new("saving the lab took too long"))
}

/// The option that makes QEMU start from a file.
pub(crate) fn restore_option(path: &Path) -> [String; 2] {
    ["-incoming".to_owned(), format!("exec:cat {}", quote(path))]
}

/// Waits until a machine that starts from a file has its memory back, and lets it run.
pub(crate) fn resume(qmp: &mut Qmp) -> Result<()> {
    let end = Instant::now() + RESTORE_LIMIT;
    while Instant::now() < end {
        let answer = qmp.execute("query-status", json!({}))?;
        match answer.get("status").and_then(Value::as_str) {
            Some("running") => return Ok(()),
            Some("inmigrate") => std::thread::sleep(Duration::from_millis(10)),
            // It was stopped when it was saved.
            _ => drop(qmp.execute("cont", json!({}))?),
        }
    }
    Err(Error::new("restoring the lab took too long"))
}

fn remove_old(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let age = entry
            .metadata()
            .and_then(|m| m.modified())
            .map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > KEEP) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// QEMU hands the text after `exec:` to a shell.
fn quote(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
