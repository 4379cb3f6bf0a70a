//! A site for machines: the real helper, and a network of two computers that nothing else is on.
//!
//! The helper starts QEMU itself, and both are in a name space of processes of their own, so that nothing
//! outlives a test. In it, `/dev/kvm` is open to everybody, which it is for root alone as a rule, where machines
//! can be run by it at all. The node and the computer that its machines are reached from are name spaces of the network, with
//! a cable between them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use vfioctl_api::SshAccess;
use vfioctl_image::Image;
use vfioctl_protocol::Client;

use super::RUNNER;
use crate::debian::{has_kvm, ssh_options};
use crate::lab::process::Process;
use crate::world::program;

/// The node's address.
pub const NODE: &str = "10.213.0.1";
/// That of the computer which reaches its machines.
const OTHER: &str = "10.213.0.2";
/// A group of every Debian, whose members may call the helper here.
pub const HELPER_GROUP: (&str, u32) = ("users", 100);
/// How long the helper may take to listen.
const START: Duration = Duration::from_secs(30);
/// How long a command in a machine may take.
const COMMAND: &str = "120";

/// Where `ip netns` has its name spaces.
const SPACES: &str = "/run/netns";

/// The helper, as the first process in its space.
const HELPER: &str = r#"
if [ "$2" = true ]; then
    mknod "$1/kvm" c 10 232 && chmod 666 "$1/kvm" && mount --bind "$1/kvm" /dev/kvm
fi
shift 2
exec "$@"
"#;

/// A site for machines.
#[derive(Debug)]
pub struct Site {
    // Before the folder that it works in.
    helper: Option<Process>,
    spaces: Spaces,
    qemu: PathBuf,
    folder: TempDir,
}

/// Two computers with a cable between them.
#[derive(Debug)]
struct Spaces {
    node: String,
    other: String,
}

impl Site {
    /// A site whose helper starts machines by a program, with base images.
    ///
    /// # Errors
    /// Why there is none here, as a sentence: for a test that cannot run.
    pub fn new(qemu: &Path, images: &[&Image]) -> Result<Self, String> {
        if !crate::world::is_root() {
            return Err("only root can make name spaces of the network".into());
        }
        let folder = tempfile::Builder::new()
            .prefix("vfioctl-site-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        open_to_all(folder.path());
        let library = folder.path().join("images");
        fs::create_dir(&library).unwrap();
        for image in images {
            for end in ["qcow2", "json"] {
                let copy = library.join(format!("{}.{end}", image.name));
                // That which is kept is root's alone.
                fs::copy(image.path.with_extension(end), &copy).unwrap();
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
            }
        }
        // Whoever makes a disk of one takes a lock there.
        chown(&library, Some(RUNNER), Some(RUNNER)).unwrap();
        let mut site = Self {
            helper: None,
            spaces: Spaces::make()?,
            qemu: qemu.to_owned(),
            folder,
        };
        site.start_helper()?;
        Ok(site)
    }

    /// Starts the helper, where it does not run.
    ///
    /// # Errors
    /// Where it does not listen.
    pub fn start_helper(&mut self) -> Result<(), String> {
        let folder = self.folder.path();
        let at = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={SPACES}/{}", self.spaces.node))
            .args(["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"])
            .args(["--mount-proc", "sh", "-c", HELPER, "sh"])
            .arg(folder)
            .arg(has_kvm().to_string())
            .arg(program("vfioctl-helper"))
            .args(["--direct", "--group", HELPER_GROUP.0])
            .args(["--listen", &at("helper.sock"), "--state", &at("state")])
            .args(["--pins", &at("pins"), "--runtime", &at("run")])
            .args(["--config", &at("none.toml"), "--qemu"])
            .arg(&self.qemu);
        let _ = fs::remove_file(self.socket());
        let process = Process::start_command(&command, &folder.join("helper.log"));
        self.helper = Some(process.map_err(|error| error.to_string())?);
        let deadline = Instant::now() + START;
        while UnixStream::connect(self.socket()).is_err() {
            if Instant::now() > deadline {
                return Err(format!("the helper does not listen: {}", self.helper_log()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends the helper and all that it has started, as a power cut does.
    pub fn end_helper(&mut self) {
        self.helper = None;
    }

    /// What the helper has said.
    pub fn helper_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("helper.log")).unwrap_or_default()
    }

    /// The helper's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("helper.sock")
    }

    /// The folder of base images.
    pub fn images(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    /// The name space of the network that the node is.
    pub fn network(&self) -> PathBuf {
        Path::new(SPACES).join(&self.spaces.node)
    }

    /// Calls a method of the helper, as the runner's user.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn call(&self, method: &str, parameters: &Value) -> Value {
        // Root may call for everybody's machines in 'List' with 'all' only.
        let mut client = Client::connect(&self.socket()).unwrap();
        client.call(method, parameters, START).unwrap()
    }

    /// All machines that the helper knows.
    pub fn machines(&self) -> Vec<Value> {
        let listed = self.call("io.vfioctl.Machine.List", &serde_json::json!({"all": true}));
        listed["machines"].as_array().unwrap().clone()
    }

    /// The command lines of machines and their networks that run on the node.
    pub fn processes(&self) -> Vec<String> {
        let own = fs::metadata(self.network()).unwrap().ino();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let space = fs::metadata(entry.path().join("ns/net"));
            if !space.is_ok_and(|space| space.ino() == own) {
                continue;
            }
            let bytes = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            let program = line.split(' ').next().unwrap_or_default();
            let is_machine = ["qemu", "passt"].iter().any(|name| program.contains(name));
            if is_machine || line.contains(" relay --passt ") {
                found.push(line);
            }
        }
        found
    }

    /// Runs a program on the node.
    pub fn on_node(&self) -> Command {
        self.spaces.enter(&self.spaces.node)
    }

    /// Logs in to a machine from the other computer and runs a command of the shell there: its status and
    /// what it wrote. The machine's key is known, and no other is taken.
    pub fn ssh(&self, access: &SshAccess, key: &Path, command: &str) -> (i32, String) {
        let known = self.folder.path().join(format!("known-{}", access.port));
        let line = format!("[{}]:{} {}\n", access.address, access.port, access.host_key);
        fs::write(&known, line).unwrap();
        let mut ssh = self.spaces.enter(&self.spaces.other);
        ssh.args(["timeout", COMMAND, "ssh", "-F", "none", "-T", "-p"])
            .arg(access.port.to_string())
            .arg("-i")
            .arg(key);
        ssh.args(ssh_options(&known));
        ssh.arg(format!("{}@{}", access.user, access.address))
            .arg(command);
        let output = ssh.stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let status = output.status.code().unwrap_or(255);
        (status, String::from_utf8_lossy(&text).into_owned())
    }

    /// A folder for whatever a test needs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Spaces {
    fn make() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            |what: &str, count: u32| format!("vfioctl-{what}-{}-{count}", std::process::id());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let spaces = Self {
            node: name("node", count),
            other: name("other", count),
        };
        for space in [&spaces.node, &spaces.other] {
            ip(&["netns", "add", space])?;
        }
        // The names of cards are those of their space.
        ip(&[
            "-n",
            &spaces.node,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &spaces.other,
        ])?;
        for (space, address) in [(&spaces.node, NODE), (&spaces.other, OTHER)] {
            let with_mask = format!("{address}/24");
            ip(&["-n", space, "address", "add", &with_mask, "dev", "eth0"])?;
            for card in ["lo", "eth0"] {
                ip(&["-n", space, "link", "set", card, "up"])?;
            }
        }
        ip(&["-n", &spaces.node, "route", "add", "default", "via", OTHER])?;
        Ok(spaces)
    }

    /// A command that goes on as a program in a space.
    fn enter(&self, space: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={SPACES}/{space}"));
        command
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for space in [&self.node, &self.other] {
            let _ = ip(&["netns", "delete", space]);
        }
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(words)
        .output()
        .map_err(|error| format!("ip (Debian's package 'iproute2'): {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}
