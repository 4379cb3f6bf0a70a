//! NVIDIA's driver in the guest, of the version that the host has: programs in the guest then meet
//! the driver that the rest of the site was tested with.
//!
//! The host's version is what `vfioctl_scan::host` reads of the module `nvidia`.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// What is run in the guest.
const SCRIPT: &str = include_str!("../../guest/vfioctl-nvidia");
const PLACE: &str = "/usr/local/sbin/vfioctl-nvidia";

/// A version of NVIDIA's driver, as `535.183.01`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaVersion(String);

/// The text is no such version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidNvidiaVersion;

impl NvidiaVersion {
    /// The version.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The script, for cloud-init's `write_files`.
    pub(super) fn file(&self) -> Value {
        json!({"path": PLACE, "permissions": "0755", "content": SCRIPT})
    }

    /// How it is run, for cloud-init's `runcmd`: in a unit of its own that nothing waits for, which
    /// is ended after an hour and a half, when every step of it has run out of time.
    pub(super) fn command(&self) -> Value {
        json!([
            "systemd-run",
            "--no-block",
            "--collect",
            "--unit=vfioctl-nvidia",
            "--property=RuntimeMaxSec=5400",
            PLACE,
            self.0,
        ])
    }
}

impl FromStr for NvidiaVersion {
    type Err = InvalidNvidiaVersion;

    fn from_str(text: &str) -> Result<Self, InvalidNvidiaVersion> {
        let parts: Vec<&str> = text.split('.').collect();
        let is_number = |part: &&str| {
            (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let is_version = (2..=3).contains(&parts.len()) && parts.iter().all(is_number);
        is_version
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidNvidiaVersion)
    }
}

impl fmt::Display for InvalidNvidiaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version of NVIDIA's driver has the form '535.183.01'")
    }
}

impl std::error::Error for InvalidNvidiaVersion {}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// A machine in a folder: a card or none, and programs that write down how they are called.
    struct Guest(tempfile::TempDir);

    impl Guest {
        fn new(vendor: &str, packages: &str, installer: &str) -> Self {
            let guest = Self(tempfile::tempdir().unwrap());
            let device = guest.0.path().join("sys/bus/pci/devices/0000:01:00.0");
            fs::create_dir_all(&device).unwrap();
            fs::create_dir_all(guest.0.path().join("var/log")).unwrap();
            fs::create_dir(guest.0.path().join("bin")).unwrap();
            fs::write(device.join("vendor"), vendor).unwrap();
            fs::write(device.join("class"), "0x030000\n").unwrap();
            guest.program("apt-cache", &format!("printf '{packages}'"));
            for name in ["apt-get", "modprobe"] {
                guest.program(name, "");
            }
            guest.program("uname", "echo 6.1.0");
            guest.program("curl", installer);
            guest
        }

        fn program(&self, name: &str, script: &str) {
            let path = self.0.path().join("bin").join(name);
            let calls = self.0.path().join("calls");
            let text = format!(
                "#!/bin/sh\necho {name} \"$@\" >>'{}'\n{script}\n",
                calls.display()
            );
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        /// Runs the script; its status, and what it called.
        fn run(&self) -> (i32, String) {
            let path = format!("{}:/usr/bin:/bin", self.0.path().join("bin").display());
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/vfioctl-nvidia");
            let mut command = Command::new(script);
            command.arg("535.183.01").env_clear().env("PATH", path);
            let status = command.env("VFIOCTL_ROOT", self.0.path()).status().unwrap();
            let calls = fs::read_to_string(self.0.path().join("calls")).unwrap_or_default();
            (status.code().unwrap(), calls)
        }

        fn log(&self) -> String {
            fs::read_to_string(self.0.path().join("var/log/vfioctl-nvidia.log")).unwrap()
        }
    }

    #[test]
    fn without_a_card_or_with_a_driver_nothing_is_called() {
        let guest = Guest::new("0x1234\n", "", "");
        assert_eq!(guest.run(), (0, String::new()));
        assert!(guest.log().contains("no card"));
        let guest = Guest::new("0x10de\n", "", "");
        fs::create_dir_all(guest.0.path().join("sys/module/nvidia")).unwrap();
        assert_eq!(guest.run(), (0, String::new()));
        assert!(guest.log().contains("loaded already"));
    }

    #[test]
    fn the_package_of_exactly_that_version_is_installed() {
        let madison = " nvidia-driver | 535.183.010-1 | a\\n nvidia-driver | 1:525.1-1 | a\\n \
                       nvidia-driver-535 | 1:535.183.01-0ubuntu1 | b\\n";
        let guest = Guest::new("0x10de\n", madison, "exit 1");
        let (status, calls) = guest.run();
        assert_eq!(status, 0, "{}", guest.log());
        let last = "install --no-install-recommends linux-headers-6.1.0 \
                    nvidia-driver-535=1:535.183.01-0ubuntu1\nmodprobe nvidia\n";
        assert!(calls.ends_with(last), "{calls}");
        assert!(!calls.contains("curl"), "{calls}");
    }

    #[test]
    fn without_a_package_the_installer_is_tried_at_both_places() {
        // The second place has it; what is downloaded writes down how it was run.
        let installer = "for last; do :; done; case $* in *XFree86*) exit 22;; esac
            echo 'echo installer \"$@\" >>\"$VFIOCTL_ROOT/calls\"' >\"$(echo \"$*\" |
            sed 's/.*--output \\([^ ]*\\).*/\\1/')\"";
        let guest = Guest::new("0x10de\n", "", installer);
        let (status, calls) = guest.run();
        assert_eq!(status, 0, "{}", guest.log());
        assert!(
            calls.contains("/XFree86/Linux-x86_64/535.183.01/NVIDIA-Linux"),
            "{calls}"
        );
        assert!(
            calls.contains("/tesla/535.183.01/NVIDIA-Linux-x86_64-535.183.01.run"),
            "{calls}"
        );
        let last = "installer --check\ninstaller --silent --no-questions --ui=none\n\
                    modprobe nvidia\n";
        assert!(calls.ends_with(last), "{calls}");
    }

    #[test]
    fn without_either_it_fails_and_says_so() {
        let guest = Guest::new("0x10de\n", "", "exit 6");
        assert_eq!(guest.run().0, 1);
        assert!(
            guest
                .log()
                .contains("failed: there is no driver 535.183.01")
        );
    }

    #[test]
    fn only_versions_are_versions() {
        for text in [
            "",
            "535",
            "535.",
            "535.1.2.3",
            "535.x",
            "535.183.01;id",
            "535.183.01 ",
            "12345.1",
        ] {
            assert_eq!(
                text.parse::<NvidiaVersion>(),
                Err(InvalidNvidiaVersion),
                "{text:?}"
            );
        }
        for text in ["535.183.01", "590.44"] {
            assert_eq!(text.parse::<NvidiaVersion>().unwrap().as_str(), text);
        }
    }
}
