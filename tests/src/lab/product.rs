//! What is installed in the lab: the sources with their `scripts/install`, and the binaries.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{Error, Result, Wrap};
use super::image::repository;

/// Where the sources go in the lab.
pub(crate) const SOURCES: &str = "/opt/vfioctl/sources";

/// Where the binaries go in the lab.
pub(crate) const BINARIES: &str = "/opt/vfioctl/binaries";

/// What does not matter for installing, so that changing it does not make a new saved state. Of
/// what is built here, only the manual (target/man) is installed from this folder.
const NOT_INSTALLED: &[&str] = &[
    "--exclude=./target/[!m]*",
    "--exclude=./.*",
    "--exclude=./tests",
    "--exclude=./Cargo.*",
    "--exclude=*.rs",
];

/// A build of vfioctl, packed for the lab.
#[derive(Debug)]
pub struct Product {
    sources: Vec<u8>,
    binaries: Vec<u8>,
    folder: PathBuf,
}

impl Product {
    /// Builds the release binaries of this repository and packs what installing them needs.
    /// `VFIOCTL_BIN_DIR` names a folder with binaries to take instead.
    ///
    /// # Errors
    ///
    /// When they do not build.
    pub fn build() -> Result<Product> {
        match std::env::var_os("VFIOCTL_BIN_DIR") {
            Some(folder) => Product::from_binaries(Path::new(&folder)),
            None => Product::from_binaries(&build_binaries()?),
        }
    }

    /// Packs the binaries of a folder: every file in it that can be run.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or there are none.
    pub fn from_binaries(folder: &Path) -> Result<Product> {
        let names = read_program_names(folder)?;
        if names.is_empty() {
            return Err(Error::new(format!(
                "there is no program in {}",
                folder.display()
            )));
        }
        let sources = pack(repository(), NOT_INSTALLED)?;
        let mut binaries = tar();
        binaries.arg("-C").arg(folder).args(names);
        Ok(Product {
            sources,
            binaries: read_tar(binaries)?,
            folder: folder.to_owned(),
        })
    }

    /// Installs into a folder of this machine, as a package would be made.
    pub(crate) fn install_below(&self, destdir: &Path) -> Result<()> {
        let script = repository().join("scripts/install");
        let output = Command::new(&script)
            .args(["--prefix", "/usr", "--destdir"])
            .arg(destdir)
            .arg("--bin-dir")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .wrap_path("run", &script)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Error::new(format!(
                "scripts/install failed with {}",
                output.status
            ))),
        }
    }

    /// One of its programs.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read_program(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(name);
        std::fs::read(&path).wrap_path("read", &path)
    }

    pub(crate) fn sources(&self) -> &[u8] {
        &self.sources
    }

    pub(crate) fn binaries(&self) -> &[u8] {
        &self.binaries
    }

    /// Tells apart two builds, and two ways of installing them.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.sources, &self.binaries, install_script()).hash(&mut hasher);
        hasher.finish()
    }
}

/// The script that installs what has been unpacked. Adding people to the group is what the manual
/// tells an administrator to do.
pub(crate) fn install_script() -> String {
    format!(
        "set -e
        cd {SOURCES}
        scripts/install --prefix /usr --bin-dir {BINARIES}
        for user in alice bob; do usermod --append --groups vfioctl $user; done"
    )
}

/// What a package's own scripts do when it is installed, for a root that has not been booted. The
/// group and its members come from systemd-sysusers at the boot.
pub(crate) const ENABLE_HOOK: &str = "
SYSTEMD_OFFLINE=1 chroot /new systemctl --quiet enable vfioctl-helper.socket \
    vfioctl-recover.service vfioctl-acs.service vfioctl-pin.service
mkdir -p /new/etc/sysusers.d
printf 'm %s vfioctl\n' alice bob >/new/etc/sysusers.d/lab.conf
";

/// Packs a file, or the content of a folder. Equal content gives equal bytes.
pub(crate) fn pack(path: &Path, options: &[&str]) -> Result<Vec<u8>> {
    let mut command = tar();
    command.args(options);
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !path.is_dir() => command.arg("-C").arg(parent).arg(name),
        _ => command.arg("-C").arg(path).arg("."),
    };
    read_tar(command)
}

fn tar() -> Command {
    let mut command = Command::new("tar");
    command.args([
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
    ]);
    command.args(["--numeric-owner", "--file=-"]);
    command
}

fn read_tar(mut command: Command) -> Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .wrap("run tar")?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Error::new(format!("tar failed with {}", output.status))),
    }
}

fn read_program_names(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).wrap_path("list", folder)? {
        let entry = entry.wrap_path("list", folder)?;
        let metadata = entry.metadata().wrap_path("look at", &entry.path())?;
        let is_program = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        // Cargo keeps its lock and the libraries of macros in the same folder; this crate's own
        // program is not part of the product.
        let name = PathBuf::from(entry.file_name());
        if is_program && name.extension().is_none() && name != *"lab" && !is_hidden(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn is_hidden(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().starts_with(b".")
}

fn build_binaries() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(&cargo)
        .args([
            "build",
            "--quiet",
            "--release",
            "--workspace",
            "--exclude",
            "vfioctl-tests",
            "--exclude",
            "vfioctl-simulation",
            "--features",
            "vfioctl-host/etcd",
        ])
        .current_dir(repository())
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .wrap_path("run", Path::new(&cargo))?;
    if !status.success() {
        return Err(Error::new(format!(
            "building the release binaries failed with {status}"
        )));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(repository().join(OsStr::new(&target)).join("release"))
}
