//! The lab as a QEMU command line.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{Error, Result, Wrap};
use super::image::{Image, Kernel};
use super::network;

/// `iommu=pt` is what people with graphics cards use: translation for passthrough alone. Without
/// `panic=-1` a machine that cannot find its root would stand until its time is over.
const KERNEL_ARGS: &str = "console=ttyS0 intel_iommu=on iommu=pt mitigations=off panic=-1 \
                           loglevel=4 systemd.show_status=0";

/// Which machine the lab pretends to be.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Profile {
    /// The devices as QEMU makes them.
    Plain,
    /// Graphics cards of NVIDIA, AMD and Intel, to look at; see `tests/lab/vendor.spoof`.
    Vendor,
    /// The devices as QEMU makes them, with Docker and Podman running and an image in each.
    Engines,
}

impl Profile {
    pub(crate) const ALL: [Profile; 3] = [Profile::Plain, Profile::Vendor, Profile::Engines];

    /// The profile's name, as a person would type it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Profile::Plain => "plain",
            Profile::Vendor => "vendor",
            Profile::Engines => "engines",
        }
    }

    /// What the kernel is told: the initramfs reads `lab.vendor`, systemd `systemd.wants`.
    ///
    /// The engines take the time so often that they need the processor's counter for it, which
    /// the kernel does not trust by itself under emulation; and loading AppArmor's profile for
    /// containers takes Docker 10 s here.
    fn kernel_arg(self) -> Option<&'static str> {
        match self {
            Profile::Plain => None,
            Profile::Vendor => Some("lab.vendor"),
            Profile::Engines => Some("systemd.wants=lab-engines.service tsc=reliable apparmor=0"),
        }
    }
}

/// What a boot can be given that a restored machine cannot.
#[derive(Clone, Debug, Default)]
pub struct BootOptions {
    /// Which kernel; where there is none, the one that the environment names.
    pub kernel: Option<Kernel>,
    /// Further arguments of the kernel.
    pub kernel_args: Vec<String>,
    /// Files to be put into the root before systemd starts.
    pub files: Vec<BootFile>,
    /// Script for the initramfs' shell, run just before systemd; the root stands at `/new`.
    pub hook: Option<String>,
}

/// A file that is in the root when systemd starts.
#[derive(Clone, Debug)]
pub struct BootFile {
    /// Absolute path in the lab.
    pub path: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Permissions.
    pub mode: u32,
}

/// Makes the command line of a machine whose sockets and logs are in `folder`.
pub(crate) fn command_line(
    image: &Image,
    profile: Profile,
    options: &BootOptions,
    initramfs: &Path,
    folder: &Path,
) -> Result<Vec<String>> {
    let mut args = read_device_tree(image)?;
    let mut kernel_args = vec![KERNEL_ARGS.to_owned()];
    kernel_args.extend(profile.kernel_arg().map(str::to_owned));
    kernel_args.extend_from_slice(&options.kernel_args);
    let mut push = |option: &str, value: String| args.extend([option.to_owned(), value]);
    push("-kernel", image.file("vmlinux").display().to_string());
    push("-initrd", initramfs.display().to_string());
    push("-append", kernel_args.join(" "));
    push(
        "-serial",
        format!("file:{}", quote_option(&folder.join("console"))),
    );
    push(
        "-qmp",
        format!(
            "unix:{},server=on,wait=off",
            quote_option(&folder.join("qmp"))
        ),
    );
    push("-netdev", network::netdev(folder));
    for name in ["command", "terminal"] {
        let socket = quote_option(&folder.join(name));
        push(
            "-chardev",
            format!("socket,id={name},path={socket},server=on,wait=off"),
        );
    }
    Ok(args)
}

/// Tells apart machines that could not be restored from each other's states.
pub(crate) fn fingerprint(image: &Image, profile: Profile) -> Result<u64> {
    let nowhere = Path::new("");
    let mut hasher = DefaultHasher::new();
    command_line(image, profile, &BootOptions::default(), nowhere, nowhere)?.hash(&mut hasher);
    Ok(hasher.finish())
}

fn read_device_tree(image: &Image) -> Result<Vec<String>> {
    let path = image.file("machine.args");
    let text = std::fs::read_to_string(&path).wrap_path("read", &path)?;
    let root = quote_option(&image.file("root.squashfs"));
    let srv = quote_option(&image.file("srv.ext4"));
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(|word| word.replace("{ROOT}", &root).replace("{SRV}", &srv))
        .collect())
}

/// QEMU takes a doubled comma for a comma that does not end an option.
pub(crate) fn quote_option(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Makes an initramfs that does what the options ask: the kernel unpacks archives that follow each
/// other one over the other, and the image's init copies what is in `/inject` and runs `/hook/*`.
/// `tree` is the second archive's folder and may hold something already.
pub(crate) fn write_initramfs(
    image: &Image,
    options: &BootOptions,
    tree: &Path,
    folder: &Path,
) -> Result<PathBuf> {
    let plain = image.file("initramfs.cpio");
    for file in &options.files {
        write_file(&tree.join("inject"), file)?;
    }
    if let Some(hook) = &options.hook {
        let content = hook.clone().into_bytes();
        write_file(
            tree,
            &BootFile {
                path: "hook/50".into(),
                content,
                mode: 0o644,
            },
        )?;
    }
    if !tree.exists() {
        return Ok(plain);
    }
    let initramfs = folder.join("initramfs.cpio");
    let status = Command::new("sh")
        .args([
            "-ec",
            r#"cd "$1"; { cat "$2"; find . | cpio --quiet -o -H newc; } >"$3""#,
            "sh",
        ])
        .args([tree, &plain, &initramfs])
        .status()
        .wrap("run cpio")?;
    match status.success() {
        true => Ok(initramfs),
        false => Err(Error::new(format!(
            "making an initramfs failed with {status}"
        ))),
    }
}

fn write_file(root: &Path, file: &BootFile) -> Result<()> {
    let path = root.join(file.path.strip_prefix("/").unwrap_or(&file.path));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).wrap_path("create", parent)?;
    }
    std::fs::write(&path, &file.content).wrap_path("write", &path)?;
    let mode = std::fs::Permissions::from_mode(file.mode);
    std::fs::set_permissions(&path, mode).wrap_path("set the mode of", &path)
}
