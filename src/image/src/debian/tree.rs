//! The root of a made image, as a folder: what mmdebstrap unpacks, with our files in it and without
//! what belongs to one machine.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::identifiers::Identifiers;
use super::sources::{Source, lines, public_lines, read_options};
use crate::error::{Error, ErrorKind};
use crate::limits::LONG_PROGRAM;
use crate::program::Program;
use crate::work::WorkFolder;

pub(super) const MMDEBSTRAP: Program = Program::of("mmdebstrap", "mmdebstrap");
pub(super) const UNSHARE: Program = Program::of("unshare", "util-linux");
pub(super) const DPKG_QUERY: Program = Program::of("dpkg-query", "dpkg");

/// Files of ours: where they are in the image, with their modes. They are there before packages are
/// configured.
pub(super) const FILES: [(&str, u32, &str); 9] = [
    (
        "etc/cloud/cloud.cfg.d/90-vfioctl.cfg",
        0o644,
        include_str!("../../debian/cloud.cfg"),
    ),
    ("etc/hosts", 0o644, include_str!("../../debian/hosts")),
    (
        "etc/initramfs-tools/conf.d/vfioctl.conf",
        0o644,
        include_str!("../../debian/initramfs.conf"),
    ),
    (
        "etc/initramfs/post-update.d/zz-vfioctl",
        0o755,
        include_str!("../../debian/update-esp"),
    ),
    (
        "etc/kernel/postinst.d/zz-vfioctl",
        0o755,
        include_str!("../../debian/update-esp"),
    ),
    (
        "etc/repart.d/50-root.conf",
        0o644,
        include_str!("../../debian/repart.conf"),
    ),
    (
        "etc/ssh/sshd_config.d/10-vfioctl.conf",
        0o644,
        include_str!("../../debian/sshd.conf"),
    ),
    (
        "etc/systemd/network/80-vfioctl.network",
        0o644,
        include_str!("../../debian/network"),
    ),
    (
        "usr/share/initramfs-tools/modules.d/vfioctl",
        0o644,
        include_str!("../../debian/modules"),
    ),
];

/// What runs in between.
pub(super) const HOOKS: [(&str, &str); 2] = [
    ("early-hook", include_str!("../../debian/early-hook")),
    ("late-hook", include_str!("../../debian/late-hook")),
];

/// Documentation and translations are three times as large as the programs they are about. What is
/// installed later brings its own.
const LEFT_OUT: [&str; 4] = ["doc", "man", "locale", "info"];

/// What mmdebstrap leaves behind and what belongs to one machine.
const SURPLUS: [&str; 8] = [
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/apt/sources.list",
    "etc/hostname",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "vmlinuz.old",
    "initrd.img.old",
];

/// Unpacks the packages into a folder below `work`, and makes GRUB's image beside it.
///
/// # Errors
/// Where a package cannot be had or installed.
pub(super) fn unpack(
    work: &WorkFolder,
    suite: &str,
    packages: &[&str],
    sources: &[Source],
    ids: &Identifiers,
) -> Result<PathBuf, Error> {
    let at = |error: io::Error| Error::file("cannot prepare the making of an image", error);
    for (path, mode, text) in FILES {
        write(&work.join("files"), path, mode, text).map_err(at)?;
    }
    let place = work.join("");
    for (name, script) in HOOKS {
        write(&place, name, 0o755, script).map_err(at)?;
    }
    let options = read_options()?;
    write(&place, "apt.conf", 0o644, &options).map_err(at)?;
    let early = format!(
        "search.fs_uuid {} root\nset prefix=($root)/grub\nconfigfile ($root)/grub/grub.cfg\n",
        ids.esp_volume_text()
    );
    write(&place, "grub-early.cfg", 0o644, &early).map_err(at)?;
    let root = work.join("root");
    // In name spaces of its own nothing of it is left mounted or running, however it ends.
    let mut call = UNSHARE
        .call()
        .arguments([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            MMDEBSTRAP.name,
        ])
        .arguments([
            "--mode=root",
            "--format=directory",
            "--variant=minbase",
            "--quiet",
        ])
        .arguments(["--skip=check/empty", "--dpkgopt=force-unsafe-io"])
        .argument(with_path("--aptopt=", &work.join("apt.conf")))
        .argument(with_path("--essential-hook=", &work.join("early-hook")))
        .argument(with_path("--customize-hook=", &work.join("late-hook")))
        .argument(format!("--include={}", packages.join(",")))
        .arguments(LEFT_OUT.map(|name| format!("--dpkgopt=path-exclude=/usr/share/{name}/*")))
        .argument(suite)
        .argument(&root)
        .argument("-")
        .text(lines(sources))
        .variable("VFIOCTL_WORK", &place)
        .variable("VFIOCTL_LIBRARIES", "x86_64-linux-gnu")
        .limit(LONG_PROGRAM);
    for name in [
        "http_proxy",
        "https_proxy",
        "ftp_proxy",
        "all_proxy",
        "no_proxy",
    ] {
        if let Some(proxy) = std::env::var_os(name) {
            call = call.variable(name, proxy);
        }
    }
    call.run().map_err(|error| {
        error
            .with_hint("look at what it says; 'sudo apt update' often helps where packages are old")
    })?;
    Ok(root)
}

/// Takes away what belongs to one machine, and adds what depends on this image.
///
/// # Errors
/// Where something cannot be written.
pub(super) fn finish(root: &Path, sources: &[Source], ids: &Identifiers) -> Result<(), Error> {
    let at = |error: io::Error| Error::file("cannot finish the root of an image", error);
    for path in SURPLUS {
        remove(&root.join(path)).map_err(at)?;
    }
    for entry in fs::read_dir(root.join("etc/ssh")).map_err(at)? {
        let entry = entry.map_err(at)?;
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            remove(&entry.path()).map_err(at)?;
        }
    }
    // An empty one is filled at the first boot (`machine-id(5)`).
    write(root, "etc/machine-id", 0o444, "").map_err(at)?;
    write(root, "etc/hostname", 0o644, "localhost\n").map_err(at)?;
    write(root, "etc/apt/sources.list", 0o644, &public_lines(sources)).map_err(at)?;
    let fstab = format!(
        "PARTUUID={} / ext4 errors=remount-ro,x-systemd.growfs 0 1\n\
         PARTUUID={} /boot/efi vfat umask=0077,nofail 0 0\n",
        ids.root, ids.esp
    );
    write(root, "etc/fstab", 0o644, &fstab).map_err(at)?;
    fs::create_dir_all(root.join("boot/efi")).map_err(at)?;
    let wanted = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wanted).map_err(at)?;
    let unit = "/usr/lib/systemd/system/systemd-networkd.service";
    symlink(unit, wanted.join("systemd-networkd.service")).map_err(at)
}

/// Every package with its version, a line each, in order.
///
/// # Errors
/// Where dpkg cannot say.
pub(super) fn list_packages(root: &Path) -> Result<String, Error> {
    let call = DPKG_QUERY
        .call()
        .argument(with_path("--admindir=", &root.join("var/lib/dpkg")));
    let format = "--showformat=${Package} ${Version} ${Architecture}\n";
    let answer = call.arguments(["--show", format]).run()?;
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.sort_unstable();
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

/// The version of the one kernel that is there.
///
/// # Errors
/// Where there is none, or more than one.
pub(super) fn find_kernel(root: &Path) -> Result<String, Error> {
    let at = |error: io::Error| Error::file("cannot look for the kernel of an image", error);
    let mut versions = Vec::new();
    for entry in fs::read_dir(root.join("boot")).map_err(at)? {
        let name = entry.map_err(at)?.file_name();
        let version = name.to_str().and_then(|name| name.strip_prefix("vmlinuz-"));
        versions.extend(version.map(str::to_owned));
    }
    match versions.as_slice() {
        [version] => Ok(version.clone()),
        _ => {
            let count = versions.len();
            let what = format!("there are {count} kernels in the image, and there should be one");
            Err(Error::new(ErrorKind::Program, what).with_hint("include no kernel package"))
        }
    }
}

fn with_path(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

/// Writes a new file below a folder, in the place of any other; folders are made for everybody to
/// read, whatever the caller's mask is.
fn write(folder: &Path, path: &str, mode: u32, text: &str) -> io::Result<()> {
    let place = folder.join(path);
    let above: Vec<&Path> = place.ancestors().skip(1).collect();
    for folder in above.into_iter().rev().filter(|folder| !folder.exists()) {
        fs::create_dir(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    remove(&place)?;
    let mut file = File::create_new(&place)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(mode))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::debian::identifiers::of_sum;

    fn read(root: &Path, path: &str) -> Option<String> {
        fs::read_to_string(root.join(path)).ok()
    }

    #[test]
    fn nothing_of_the_machine_that_made_it_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in SURPLUS
            .into_iter()
            .chain(["etc/ssh/ssh_host_rsa_key", "etc/ssh/moduli"])
        {
            write(root, path, 0o644, "of one machine").unwrap();
        }
        let ids = of_sum(&"0123456789abcdef".repeat(4)).unwrap();
        finish(root, &[], &ids).unwrap();
        assert_eq!(read(root, "etc/machine-id").as_deref(), Some(""));
        assert_eq!(read(root, "etc/hostname").as_deref(), Some("localhost\n"));
        assert_eq!(read(root, "etc/apt/sources.list").as_deref(), Some(""));
        assert_eq!(read(root, "etc/ssh/ssh_host_rsa_key"), None);
        assert_eq!(read(root, "etc/apt/apt.conf.d/99mmdebstrap"), None);
        assert!(read(root, "etc/ssh/moduli").is_some());
        assert_eq!(
            read(root, "etc/fstab").unwrap().lines().next(),
            Some(
                "PARTUUID=01234567-89ab-4def-8123-456789abcd03 / ext4 \
                  errors=remount-ro,x-systemd.growfs 0 1"
            )
        );
    }

    #[test]
    fn a_file_gets_its_mode_and_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "untouched").unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        symlink(&outside, root.join("hosts")).unwrap();
        write(&root, "hosts", 0o640, "new").unwrap();
        assert_eq!(
            fs::metadata(root.join("hosts")).unwrap().mode() & 0o7777,
            0o640
        );
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
    }

    #[test]
    fn there_is_one_kernel_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "boot/config-6.1.0-1-amd64", 0o644, "").unwrap();
        assert!(find_kernel(root).is_err());
        write(root, "boot/vmlinuz-6.1.0-1-amd64", 0o644, "").unwrap();
        assert_eq!(find_kernel(root).unwrap(), "6.1.0-1-amd64");
        write(root, "boot/vmlinuz-6.1.0-2-amd64", 0o644, "").unwrap();
        assert!(find_kernel(root).is_err());
    }
}
