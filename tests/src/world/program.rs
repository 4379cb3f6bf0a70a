//! The product's programs, built once, at a place that every user can reach.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The programs.
#[derive(Debug)]
pub struct Programs {
    folder: TempDir,
}

impl Programs {
    /// The command.
    pub fn vfioctl(&self) -> PathBuf {
        self.folder.path().join("vfioctl")
    }
}

/// Builds the command, or takes it from `VFIOCTL_BIN_DIR`, and copies it to where users without
/// rights can run it: the build folder may lie in root's home.
pub fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let from = match std::env::var_os("VFIOCTL_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => build(),
        };
        let folder = tempfile::tempdir().unwrap();
        super::fake::open_to_all(folder.path());
        std::fs::copy(from.join("vfioctl"), folder.path().join("vfioctl")).unwrap();
        Programs { folder }
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "vfioctl", "--bins"])
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .unwrap();
    assert!(status.success(), "the command does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root.join(target).join("debug")
}

/// Whether this process can act for several users.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
