//! A machine with an overlay of a base image and a seed, reached by SSH.
//!
//! It has no network but what it is reached by: a port of 127.0.0.1 that QEMU forwards.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use vfioctl_image::{AuthorizedKeys, DiskSize, Image, Network, NvidiaVersion, Overlay, Seed};

use super::emulator::{arguments, has_kvm};
use super::keys::{KeyPair, ssh_options};
use super::packages::need_packages;
use crate::lab::folder::Folder;
use crate::lab::process::Process;
use crate::lab::qmp::Qmp;

/// What starting machines and reaching them needs here.
const PACKAGES: [&str; 4] = ["openssh-client", "ovmf", "qemu-system-x86", "qemu-utils"];

const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Until a machine is reached by SSH: an emulated processor on a busy machine takes two minutes.
const BOOT: Duration = Duration::from_secs(420);
/// Until it has ended after it was told to.
const END: Duration = Duration::from_secs(120);
/// One that its test has forgotten ends by itself.
pub(super) const LIFE: Duration = Duration::from_secs(1800);
/// Until a command in it has ended.
const COMMAND: &str = "180";
/// Between two tries to reach it.
const PAUSE: Duration = Duration::from_millis(100);

/// The user that its seed makes.
const USER: &str = "alice";

/// What a machine boots by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestFirmware {
    /// OVMF, with variables of its own.
    Uefi,
    /// SeaBIOS.
    Bios,
}

/// What a machine shall be.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// Its name.
    pub name: &'static str,
    /// What it boots by.
    pub firmware: GuestFirmware,
    /// The size of its disk.
    pub disk: DiskSize,
    /// The driver that its seed asks for.
    pub nvidia: Option<NvidiaVersion>,
}

/// A machine that runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Guest {
    process: Process,
    folder: Folder,
    port: u16,
    user_key: PathBuf,
    started: Instant,
    /// How long it took from QEMU's start until it was what was waited for.
    pub boot_time: Duration,
    /// Whether a real processor ran it.
    pub is_kvm: bool,
}

/// What a command in a machine came to.
#[derive(Debug)]
pub struct Answer {
    /// Its status; 255 where SSH itself failed.
    pub status: i32,
    /// What it wrote.
    pub text: String,
    /// What it complained about.
    pub complaint: String,
}

impl Guest {
    /// Makes sure that machines can be started here.
    ///
    /// # Errors
    ///
    /// Why they cannot, as a sentence: for a test that cannot run.
    pub fn expect_possible() -> Result<(), String> {
        need_packages(&PACKAGES)
    }

    /// Boots a machine of an image, and waits until it is reached by SSH with its own key.
    ///
    /// # Errors
    ///
    /// Where it does not come up.
    pub fn boot(image: &Image, options: &GuestOptions) -> Result<Self, String> {
        let mut guest = Self::start(image, options)?;
        guest.wait_for_ssh()?;
        guest.boot_time = guest.started.elapsed();
        Ok(guest)
    }

    /// Boots a machine of an image, and waits until these words are on its serial console.
    ///
    /// # Errors
    ///
    /// Where they do not come.
    pub fn boot_until(image: &Image, options: &GuestOptions, words: &str) -> Result<Self, String> {
        let mut guest = Self::start(image, options)?;
        let console = guest.folder.path().join("console");
        let is_there = || {
            let text = fs::read(&console).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(words)
        };
        while !is_there() {
            if guest.started.elapsed() > BOOT || guest.process.has_ended() {
                return Err(guest.unreached(&format!("'{words}' never stood on the console")));
            }
            std::thread::sleep(PAUSE);
        }
        guest.boot_time = guest.started.elapsed();
        Ok(guest)
    }

    fn start(image: &Image, options: &GuestOptions) -> Result<Self, String> {
        let folder = Folder::new().map_err(|error| error.to_string())?;
        let place = folder.path();
        let (host, user) = (KeyPair::make(place, "host")?, KeyPair::make(place, "user")?);
        let seed = Seed {
            instance_id: options.name.parse().map_err(text)?,
            host_name: options.name.parse().map_err(text)?,
            user: USER.parse().map_err(text)?,
            authorized_keys: AuthorizedKeys::new(vec![user.public.parse().map_err(text)?])
                .map_err(text)?,
            host_key: host.host_key()?,
            network: Network::Dhcp(None),
            nvidia: options.nvidia.clone(),
        };
        seed.write(&place.join("seed.img"), None).map_err(text)?;
        Overlay::create(image, &place.join("disk.qcow2"), options.disk, None).map_err(text)?;
        fs::copy(VARIABLES, place.join("variables.fd")).map_err(text)?;
        let port = free_port()?;
        let known = format!("[127.0.0.1]:{port} {}\n", seed.host_key.public_line());
        fs::write(place.join("known_hosts"), known).map_err(text)?;
        let is_kvm = has_kvm();
        let started = Instant::now();
        let arguments = arguments(place, options, port, is_kvm);
        let process = Process::start(&arguments, LIFE, place).map_err(text)?;
        Ok(Self {
            process,
            folder,
            port,
            user_key: user.private,
            started,
            boot_time: Duration::ZERO,
            is_kvm,
        })
    }

    /// The folder that its files are in: `disk.qcow2` is its overlay.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command of the shell in it, as its user.
    pub fn run(&self, command: &str) -> Answer {
        self.run_knowing(&self.folder.path().join("known_hosts"), command)
    }

    /// The same by whom another key is expected.
    pub fn run_knowing(&self, known_hosts: &Path, command: &str) -> Answer {
        let mut ssh = Command::new("timeout");
        ssh.args([
            COMMAND,
            "ssh",
            "-F",
            "none",
            "-T",
            "-p",
            &self.port.to_string(),
            "-i",
        ]);
        ssh.arg(&self.user_key);
        ssh.args(ssh_options(known_hosts));
        ssh.args([&format!("{USER}@127.0.0.1"), command]);
        let output = ssh.stdin(Stdio::null()).output().unwrap();
        Answer {
            status: output.status.code().unwrap_or(255),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Presses its power button.
    pub fn press_power_button(&self) {
        let stream = UnixStream::connect(self.folder.path().join("qmp")).unwrap();
        let mut qmp = Qmp::new(stream).unwrap();
        qmp.execute("system_powerdown", json!({})).unwrap();
    }

    /// Waits until it has ended, by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) {
        assert!(self.process.wait(END), "{} has not ended", self.console());
    }

    /// The last lines of its serial console.
    fn console(&self) -> String {
        let read = |name: &str| {
            let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.len().saturating_sub(20);
            lines.get(last..).unwrap_or_default().join("\n")
        };
        format!(
            "--- console\n{}\n--- QEMU\n{}\n",
            read("console"),
            read("stderr")
        )
    }

    fn wait_for_ssh(&mut self) -> Result<(), String> {
        let mut last = String::new();
        while self.started.elapsed() < BOOT && !self.process.has_ended() {
            std::thread::sleep(PAUSE);
            if has_banner(self.port) {
                let answer = self.run("true");
                if answer.status == 0 {
                    return Ok(());
                }
                // The server is up before users may log in.
                last = answer.complaint;
            }
        }
        Err(self.unreached(&last))
    }

    /// Why a machine is given up; its files are kept to look at.
    fn unreached(&self, why: &str) -> String {
        self.folder.keep();
        let place = self.folder.path().display();
        format!(
            "the machine in '{place}' is not reached: {why}\n{}",
            self.console()
        )
    }
}

impl Answer {
    /// What it wrote, where it ended well.
    ///
    /// # Panics
    ///
    /// Where it did not.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.text
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    Ok(listener.local_addr().map_err(text)?.port())
}

/// Whether something answers as a server of SSH does.
fn has_banner(port: u16) -> bool {
    let limit = Duration::from_secs(5);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else {
        return false;
    };
    let mut banner = [0; 4];
    stream.set_read_timeout(Some(limit)).is_ok()
        && stream.read_exact(&mut banner).is_ok()
        && &banner == b"SSH-"
}
