//! The lab, with the product installed.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Picture, User, World};
use crate::lab::{BootFile, BootOptions, Lab, Output, Product, Profile};

/// More than anything takes that is not broken.
const LIMIT: Duration = Duration::from_secs(120);

/// The lab, with the product installed.
#[derive(Debug)]
pub struct LabWorld {
    lab: Lab,
}

impl LabWorld {
    /// Restores a machine.
    pub fn start() -> Self {
        Self::start_as(Profile::Plain)
    }

    /// Restores a machine that pretends to be another.
    pub fn start_as(profile: Profile) -> Self {
        let lab = Lab::restore_installed(profile, product()).unwrap();
        Self { lab }
    }

    /// Boots one.
    pub fn boot(options: &BootOptions) -> Self {
        Self::boot_as(Profile::Plain, options)
    }

    /// Boots one that pretends to be another.
    pub fn boot_as(profile: Profile, options: &BootOptions) -> Self {
        let lab = Lab::boot_installed(profile, product(), options).unwrap();
        Self { lab }
    }

    /// Files of the product's configuration and state, to be on the disk of the next boot.
    pub fn kept_files(&self) -> Vec<BootFile> {
        let found = self.root("find /etc/vfioctl /var/lib/vfioctl -type f -printf '%m %p\\n'");
        let file = |line: &str| {
            let (mode, path) = line.split_once(' ').unwrap();
            BootFile {
                path: path.into(),
                content: self.root(&format!("cat {path}")).into_bytes(),
                mode: u32::from_str_radix(mode, 8).unwrap(),
            }
        };
        found.lines().map(file).collect()
    }

    /// A program of the product, to be on the disk of the next boot whether it is installed or not.
    pub fn program(name: &str) -> BootFile {
        BootFile {
            path: format!("/usr/bin/{name}").into(),
            content: product().read_program(name).unwrap(),
            mode: 0o755,
        }
    }

    /// The machine itself.
    pub fn machine(&self) -> &Lab {
        &self.lab
    }

    /// Runs a script as root; its text.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn root(&self, script: &str) -> String {
        self.lab.run(script, LIMIT).unwrap().success().unwrap()
    }

    /// Runs a script as root, and takes its failure.
    pub fn try_root(&self, script: &str) -> Output {
        self.lab.run(script, LIMIT).unwrap()
    }

    /// Runs a script as a user, and takes its failure.
    pub fn run_as(&self, user: User, script: &str) -> Output {
        match user {
            User::Root => self.lab.run(script, LIMIT),
            user => self.lab.run_as(user.name(), script, LIMIT),
        }
        .unwrap()
    }
}

/// The product, built once.
fn product() -> &'static Product {
    static PRODUCT: OnceLock<Product> = OnceLock::new();
    PRODUCT.get_or_init(|| Product::build().unwrap())
}

/// Everything to compare, with few forks: each costs 40 ms here.
const PICTURE: &str = r"
cd /sys/bus/pci/devices
for device in *; do
    read -r text <$device/driver_override && echo override $device $text
done
find -H * -maxdepth 1 -type l \( -name driver -o -name iommu_group \) -printf '%f %h %l\n'
find /dev/vfio -type c -name '[0-9]*' -printf 'node %f %U %m\n'
find /etc/vfioctl/pinned -type f -printf 'pin %f\n' 2>/dev/null
cd /var/lib/vfioctl 2>/dev/null && find claims journal machines -type f -printf 'state %p\n' 2>/dev/null
:
";

impl World for LabWorld {
    fn vfioctl(&self, user: User, arguments: &[&str]) -> Answer {
        let words: Vec<String> = arguments.iter().map(|word| quote(word)).collect();
        let script = format!("exec vfioctl --json {} 2>/dev/null", words.join(" "));
        let output = self.run_as(user, &script);
        Answer::new(output.rc, &output.text)
    }

    fn call(&self, user: User, method: &str, parameters: &Value) -> Value {
        let request = json!({"method": method, "parameters": parameters}).to_string();
        let output = self.run_as(user, &call_script(&request));
        let text = output.text.trim_end_matches(['\0', '\n']);
        serde_json::from_str(text).unwrap_or_else(|error| panic!("no reply ({error}): {text}"))
    }

    fn picture(&self) -> Picture {
        let text = self.root(PICTURE);
        text.lines().map(parse_line).collect()
    }

    fn set_override(&self, address: &str, text: &str) {
        let path = format!("/sys/bus/pci/devices/{address}/driver_override");
        self.root(&format!("echo {} >{path}", quote(text)));
    }

    fn kill_helper(&self) {
        self.root("systemctl kill --kill-who=main --signal=KILL vfioctl-helper.service || :");
    }

    fn start_helper(&self) {
        self.root(
            "systemctl reset-failed vfioctl-helper.service; systemctl start vfioctl-helper.socket",
        );
    }

    fn stop_helper(&self) {
        self.root("systemctl stop vfioctl-helper.socket vfioctl-helper.service");
    }

    fn old_helper(&self, reply: &str) -> String {
        let reply = reply
            .replace('"', "\\042")
            .replace(',', "\\054")
            .replace(':', "\\072");
        self.root(&format!(
            "rm -f /run/old.sock
            printf '%s' 'read -r -d \"\" _; printf '\\''{reply}\\000'\\''' >/run/old.sh
            socat UNIX-LISTEN:/run/old.sock,fork,mode=666 SYSTEM:'bash /run/old.sh' </dev/null >/dev/null 2>&1 &
            until [ -e /run/old.sock ]; do sleep .1; done"
        ));
        "/run/old.sock".to_owned()
    }

    fn lab(&self) -> Option<&LabWorld> {
        Some(self)
    }
}

/// Sends a request to the helper, and waits as long for its reply as anything takes.
pub(crate) fn call_script(request: &str) -> String {
    let request = quote(request);
    format!("printf '%s\\0' {request} | socat -t 60 - UNIX-CONNECT:/run/vfioctl/helper.sock")
}

/// `driver 0000:01:00.0 ../../bus/pci/drivers/NAME` and the like as key and value.
fn parse_line(line: &str) -> (String, String) {
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (key, what, value) = (word(), word(), word());
    let last = value.rsplit('/').next().unwrap_or_default().to_owned();
    match key {
        "driver" => (format!("driver {what}"), last),
        "iommu_group" => (format!("group {what}"), last),
        _ => (format!("{key} {what}"), value.to_owned()),
    }
}

/// Makes one word of a text, for a shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
