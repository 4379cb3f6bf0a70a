//! Which packages a made image has.

use std::fmt;
use std::str::FromStr;

/// What an image is for, which decides its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Machines with devices of their own: Debian's usual kernel, with all drivers.
    Gpu,
    /// Machines without: the smaller kernel for clouds, which has no drivers for GPUs.
    Cloud,
}

/// The name of a Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageName(String);

/// The text is not the name of a Debian package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPackageName;

/// What every image has beside the essential packages, each with its reason.
const PACKAGES: [&str; 21] = [
    "systemd-sysv",      // the first process
    "libpam-systemd",    // sessions of users who log in
    "dbus",              // what systemd's programs talk over
    "udev",              // devices
    "kmod",              // their drivers
    "systemd-resolved",  // names, as the network gives them
    "systemd-timesyncd", // the time
    "iproute2",          // a look at the network
    "openssh-server",    // the way in
    "sudo",              // the way to root
    "cloud-init",        // the seed
    "qemu-guest-agent",  // the host's view, where it gives the machine a port for it
    "e2fsprogs",         // checks of the root
    "initramfs-tools",   // the initramfs
    "zstd",              // its compression
    "systemd-boot-efi",  // the boot loader for UEFI
    "ca-certificates",   // trust in servers
    "curl",              // downloads, NVIDIA's installer among them
    "pciutils",          // a look at the devices
    "procps",            // and at the processes
    "less",              // and at long texts
];

impl Variant {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cloud => "cloud",
        }
    }

    fn kernel(self) -> &'static str {
        match self {
            Self::Gpu => "linux-image-amd64",
            Self::Cloud => "linux-image-cloud-amd64",
        }
    }
}

impl PackageName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = InvalidPackageName;

    /// Debian policy, section 5.6.1: two or more lower-case letters, digits and `+-.`, a letter or
    /// digit first. So it is never an option of apt, a pattern, or a way to remove a package.
    fn from_str(text: &str) -> Result<Self, InvalidPackageName> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = (2..=128).contains(&text.len())
            && text.bytes().next().is_some_and(is_word)
            && text.bytes().all(|byte| is_word(byte) || b"+-.".contains(&byte))
            // apt takes a name with such an end for a wish to remove or to install.
            && (!text.ends_with(['-', '+']) || text.ends_with("++"));
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidPackageName)
    }
}

impl fmt::Display for InvalidPackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a package name is lower-case letters and digits, with '+', '-' and '.' inside")
    }
}

impl std::error::Error for InvalidPackageName {}

/// All packages that are asked for, without those that they need.
pub(super) fn wanted(variant: Variant, more: &[PackageName]) -> Vec<&str> {
    let more = more.iter().map(PackageName::as_str);
    let mut all: Vec<&str> = PACKAGES
        .into_iter()
        .chain([variant.kernel()])
        .chain(more)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_never_an_option_or_a_removal() {
        for text in [
            "", "a", "-y", "vim-", "vim+", "a b", "a,b", "a=1", "a/b", "A1", "?x", "*",
        ] {
            assert_eq!(
                text.parse::<PackageName>(),
                Err(InvalidPackageName),
                "{text:?}"
            );
        }
        for text in ["vim", "g++", "libstdc++6", "python3.11"] {
            assert_eq!(text.parse::<PackageName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn each_variant_has_its_kernel_once() {
        let more: Vec<PackageName> = vec!["vim".parse().unwrap(), "sudo".parse().unwrap()];
        let all = wanted(Variant::Cloud, &more);
        assert_eq!(all.len(), PACKAGES.len() + 2);
        assert!(all.contains(&"linux-image-cloud-amd64") && all.contains(&"vim"));
        assert!(wanted(Variant::Gpu, &[]).contains(&"linux-image-amd64"));
    }
}
