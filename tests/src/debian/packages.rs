//! Debian packages that tests of images need on this machine.

use std::process::{Command, Stdio};

/// Installs the packages that are missing, as `tests/lab/build` does.
///
/// # Errors
///
/// Why they are not there afterwards.
pub fn need_packages(packages: &[&str]) -> Result<(), String> {
    if are_installed(packages)? {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        let names = packages.join(" ");
        return Err(format!(
            "packages are missing, and installing them takes root: {names}"
        ));
    }
    // The lists may be absent (a fresh machine), or name what the mirror has no longer.
    if install(packages) || (update() && install(packages)) {
        return Ok(());
    }
    Err(format!("apt-get could not install {}", packages.join(" ")))
}

/// The versions that apt would install of packages, a line each.
///
/// # Errors
///
/// Where apt does not know them.
pub(super) fn read_versions(packages: &[&str]) -> Result<String, String> {
    let ask = || {
        let mut command = Command::new("apt-cache");
        command.args(["show", "--no-all-versions"]).args(packages);
        let output = command
            .output()
            .map_err(|error| format!("cannot run apt-cache: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("Package: ") || line.starts_with("Version: "));
        let lines: Vec<&str> = lines.collect();
        match output.status.success() {
            true => Ok(lines.join("\n")),
            false => Err("apt knows no versions of the packages".to_owned()),
        }
    };
    match ask() {
        Err(_) if update() => ask(),
        answer => answer,
    }
}

fn are_installed(packages: &[&str]) -> Result<bool, String> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${db:Status-Abbrev}\n"]);
    // It fails where it does not know one of the names at all.
    let output = command.args(packages).output();
    let output = output.map_err(|error| format!("this is not Debian: dpkg-query: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success() && text.lines().all(|line| line.starts_with("ii")))
}

fn install(packages: &[&str]) -> bool {
    let install = [
        "install",
        "-qq",
        "-y",
        "--no-install-recommends",
        "--no-remove",
    ];
    apt_get(&[&install[..], packages].concat())
}

fn update() -> bool {
    apt_get(&["update", "-qq"])
}

fn apt_get(words: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
