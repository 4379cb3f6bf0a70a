//! A running differential machine, and what it is asked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::lab::folder::Folder;
use crate::lab::process::Process;
use crate::lab::{Error, Image, Result};

use super::machine::Machine;
use super::picture::Picture;
use super::{Iommu, Kernel};

/// A boot takes 2 s where nothing else runs.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
const ANSWER_LIMIT: Duration = Duration::from_secs(40);
const START_LIMIT: Duration = Duration::from_secs(20);
/// The longest that a machine lives, whatever its harness does.
const LIFE: Duration = Duration::from_secs(240);
/// How often a machine is started whose QEMU ended before the kernel said anything: once in some
/// hundred starts it crashes.
const STARTS: usize = 3;

/// `iommu=pt` as in the lab. `pcie_aspm=off`, because both kernels die in
/// `pcie_aspm_exit_link_state` at some removals of a port with a switch below. The rest is for
/// speed and has nothing to do with PCI.
const KERNEL_ARGS: &str = "console=ttyS0 loglevel=4 iommu=pt panic=-1 pcie_aspm=off \
                           mitigations=off nokaslr cryptomgr.notests no_timer_check intel_iommu=on";

/// One running machine. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    // QEMU goes before the folder with its sockets.
    port: BufReader<UnixStream>,
    _process: Process,
    folder: Folder,
    command: String,
}

impl Guest {
    /// Boots a machine and waits until its only program has started.
    pub(super) fn boot(machine: &Machine, kernel: Kernel) -> Result<Self> {
        let image = Image::build_for(kernel.name())?;
        let mut starts = 1;
        loop {
            match Self::start(&image, machine) {
                Err(error) if error.is_crash() && starts < STARTS => starts += 1,
                done => return done,
            }
        }
    }

    fn start(image: &Image, machine: &Machine) -> Result<Self> {
        let folder = Folder::new()?;
        let args = command_line(image, machine, folder.path());
        let command = args.iter().map(|arg| quote(arg)).collect::<Vec<_>>();
        let mut process = Process::start(&args, LIFE, folder.path())?;
        let fail = |what: &str, process: &mut Process| {
            folder.keep();
            let console = std::fs::read(folder.path().join("console")).unwrap_or_default();
            let is_crash = console.is_empty() && process.wait(Duration::from_secs(1));
            Err(Error::new(what).of_crash(is_crash).with_logs(folder.path()))
        };
        let socket = folder.path().join("port");
        let end = Instant::now() + START_LIMIT;
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) if process.has_ended() || Instant::now() > end => {
                    return fail("QEMU did not start", &mut process);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let mut port = BufReader::new(stream);
        let mut line = String::new();
        let hello = port
            .get_ref()
            .set_read_timeout(Some(BOOT_LIMIT))
            .and_then(|()| port.read_line(&mut line));
        if hello.is_err() || line != "hello\n" {
            return fail("the machine did not come up", &mut process);
        }
        let command = format!("qemu-system-x86_64 {}", command.join(" "));
        Ok(Self {
            port,
            _process: process,
            folder,
            command,
        })
    }

    /// Sends a request and waits for its answer.
    pub(super) fn ask(&mut self, request: &str) -> Result<Vec<String>> {
        self.try_ask(request).map_err(|error| {
            self.folder.keep();
            error.with_logs(self.folder.path())
        })
    }

    /// Asks for virtual functions; `false` where the windows of the bridges above leave no room.
    pub(super) fn ask_for_virtual_functions(&mut self, request: &str) -> Result<bool> {
        match self.try_ask(request) {
            Err(error) if error.to_string().ends_with("! Cannot allocate memory") => Ok(false),
            done => done.map(|_| true),
        }
    }

    fn try_ask(&mut self, request: &str) -> Result<Vec<String>> {
        let dead = |error: std::io::Error| {
            Error::new(format!(
                "the machine gave no answer to '{request}': {error}"
            ))
        };
        let stream = self.port.get_mut();
        stream
            .set_read_timeout(Some(ANSWER_LIMIT))
            .and_then(|()| stream.write_all(format!("{request}\n").as_bytes()))
            .map_err(dead)?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let bytes = self.port.read_line(&mut line).map_err(dead)?;
            match line.trim_end() {
                "." => return Ok(lines),
                "" if bytes == 0 => {
                    return Err(Error::new(format!("the machine ended at '{request}'")));
                }
                text if text.starts_with('!') => {
                    return Err(Error::new(format!("'{request}' failed: {text}")));
                }
                text => lines.push(text.to_owned()),
            }
        }
    }

    /// Everything that the kernel shows now.
    pub(super) fn look(&mut self) -> Result<Picture> {
        let lines = self.ask("dump")?;
        Picture::parse(&lines).ok_or_else(|| {
            self.folder.keep();
            let path = self.folder.path().join("dump");
            let _ = std::fs::write(&path, lines.join("\n"));
            Error::new(format!("no dump: {}", path.display()))
        })
    }

    /// Keeps the machine's folder, and what there is to say about it.
    pub(super) fn keep(&self, files: &[(&str, String)]) -> std::path::PathBuf {
        self.folder.keep();
        let path = self.folder.path().to_owned();
        let command = ("command", self.command.clone());
        for (name, text) in files.iter().chain([&command]) {
            let _ = std::fs::write(path.join(name), text);
        }
        path
    }
}

fn command_line(image: &Image, machine: &Machine, folder: &Path) -> Vec<String> {
    let mut kernel_args = KERNEL_ARGS.to_owned();
    if let Some(value) = &machine.pci_parameter {
        kernel_args += &format!(" pci={value}");
    }
    let path = |path: std::path::PathBuf| path.display().to_string().replace(',', ",,");
    let mut args: Vec<String> = "-nodefaults -no-user-config -no-reboot -display none -smp 1 \
        -machine q35,accel=tcg,kernel-irqchip=split -cpu max,-la57 -m 320"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let mut push = |option: &str, value: String| args.extend([option.to_owned(), value]);
    push("-kernel", path(image.file("vmlinux")));
    push("-initrd", path(image.file("differential.cpio")));
    push("-append", kernel_args);
    push("-serial", format!("file:{}", path(folder.join("console"))));
    let socket = path(folder.join("port"));
    push(
        "-chardev",
        format!("socket,id=port,path={socket},server=on,wait=off"),
    );
    push("-serial", "chardev:port".to_owned());
    for device in &machine.devices {
        push("-device", device.clone());
    }
    args
}

/// For a shell.
fn quote(arg: &str) -> String {
    if arg.contains([' ', ';']) {
        format!("'{arg}'")
    } else {
        arg.to_owned()
    }
}

impl Iommu {
    /// The value of `-device`.
    pub(super) fn device(self) -> &'static str {
        match self {
            Self::Intel => "intel-iommu,intremap=on,caching-mode=on",
            Self::Amd => "amd-iommu,intremap=on",
        }
    }
}
