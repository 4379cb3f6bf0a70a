//! The product's programs, built once, at a place that every user can reach.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use tempfile::TempDir;

/// The programs that are there.
struct Programs {
    folder: TempDir,
    names: BTreeSet<&'static str>,
}

static PROGRAMS: LazyLock<Mutex<Programs>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    super::fake::open_to_all(folder.path());
    let names = BTreeSet::new();
    Mutex::new(Programs { folder, names })
});

/// A program by its name, which is that of its package. It is built, or taken from `VFIOCTL_BIN_DIR`, and
/// copied to where users without rights can run it: the build folder may lie in root's home.
///
/// # Panics
/// Where it does not build.
pub fn program(name: &'static str) -> PathBuf {
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let path = programs.folder.path().join(name);
    if programs.names.insert(name) {
        let from = match std::env::var_os("VFIOCTL_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => build(name),
        };
        std::fs::copy(from.join(name), &path).unwrap();
    }
    path
}

fn build(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", name, "--bins"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .unwrap();
    assert!(status.success(), "'{name}' does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root.join(target).join("debug")
}

/// Whether this process can act for several users.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
