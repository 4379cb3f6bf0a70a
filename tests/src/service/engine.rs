//! Docker and Podman, as a node has them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::lab::error::Wrap;
use crate::lab::folder::Folder;
use crate::lab::process::Process;
use crate::lab::{Error, Image, Lab, Output, Result};

use super::cell::{self, Cell};

/// It takes half a second.
const START_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Debian's Podman asks for limits that root may not have where it is in a container itself, and
/// its crun does not run where both versions of control groups are mounted.
const CONTAINERS_CONF: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["ENGINES/bin/conmon"]
[engine.runtimes]
runc = ["ENGINES/bin/runc"]
"#;
const STORAGE_CONF: &str = r#"
[storage]
driver = "overlay"
runroot = "FOLDER/run"
graphroot = "FOLDER/data"
"#;
const POLICY: &str = r#"{ "default": [{ "type": "insecureAcceptAnything" }] }"#;

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// dockerd 20.10.
    Docker,
    /// `podman system service` 4.3.
    Podman,
}

/// What an engine finds besides its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// A folder with programs, before all others.
    pub programs: Option<&'a Path>,
    /// Files below `/etc`: path and content.
    pub etc: &'a [(&'a str, &'a str)],
}

/// A running container engine that has the image `localhost/lab:1`: busybox, 2 MB. Containers have
/// no network but `none` and the machine's own, `host`. With this ends all that it started.
#[derive(Debug)]
pub struct Engine {
    // In this order: the engine, then what it started, then the folder of both.
    process: Process,
    cell: Cell,
    folder: Folder,
    image: Image,
    kind: Kind,
    group: u32,
    programs: Option<PathBuf>,
}

impl Engine {
    /// Starts an engine whose socket is root's and a group's, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start, with the end of what it said.
    pub fn start(kind: Kind, group: u32) -> Result<Engine> {
        Engine::start_with(kind, group, Extras::default())
    }

    /// The same, with more to be found.
    ///
    /// # Errors
    ///
    /// When it does not start, with the end of what it said.
    pub fn start_with(kind: Kind, group: u32, extras: Extras<'_>) -> Result<Engine> {
        let image = Lab::image()?;
        let folder = Folder::new()?;
        // The way to the socket is open for its group; what the engine keeps here it closes itself.
        let open = fs::Permissions::from_mode(0o711);
        fs::set_permissions(folder.path(), open).wrap_path("open", folder.path())?;
        let explain = |error: Error| {
            folder.keep();
            error.with_logs(folder.path())
        };
        if kind == Kind::Podman {
            write_configuration(&image, folder.path())?;
        }
        for (path, text) in extras.etc {
            let path = folder.path().join("over/etc").join(path);
            let parent = path.parent().unwrap_or(folder.path());
            fs::create_dir_all(parent).wrap_path("create", parent)?;
            fs::write(&path, text).wrap_path("write", &path)?;
        }
        let cell = Cell::start(&image, folder.path()).map_err(explain)?;
        let programs = extras.programs.map(Path::to_owned);
        let process = start_process(kind, &cell, folder.path(), programs.as_deref())?;
        let mut engine = Engine {
            process,
            cell,
            folder,
            image,
            kind,
            group,
            programs,
        };
        engine.wait_until_up()?;
        engine.load("image.tar")?;
        Ok(engine)
    }

    /// Names the socket at which it speaks Docker's API. It stays over restarts.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(self.folder.path())
    }

    /// Names the folder of what lies over `/etc` where it runs.
    #[must_use]
    pub fn etc(&self) -> PathBuf {
        self.folder.path().join("over/etc")
    }

    /// Names an archive that was made with the lab: `image.tar`, `python.tar`, `rootfs.tar`.
    #[must_use]
    pub fn archive(&self, name: &str) -> PathBuf {
        self.image.file("containers").join(name)
    }

    /// Loads one of the images that were made with the lab, `image.tar` or `python.tar`.
    ///
    /// # Errors
    ///
    /// When it cannot be loaded.
    pub fn load(&self, name: &str) -> Result<()> {
        let archive = self.image.file("containers").join(name);
        let archive = archive.display().to_string();
        self.command(&["load", "--quiet", "--input", &archive])?
            .success()
            .map(drop)
    }

    /// Runs the engine's own command line against its socket: Docker's would serve for Podman too,
    /// but refuses a device where the server does not name its operating system, and takes every
    /// exit status of a container for 0.
    ///
    /// # Errors
    ///
    /// When it does not start. What it says is in the output.
    pub fn command(&self, args: &[&str]) -> Result<Output> {
        let address = format!("unix://{}", self.socket().display());
        let mut command = match self.kind {
            Kind::Docker => self.cell.command("docker"),
            Kind::Podman => self.cell.command("podman"),
        };
        match self.kind {
            Kind::Docker => command.args(["--host", &address]),
            Kind::Podman => command.args(["--remote", "--url", &address]),
        };
        let output = command.args(args).stdin(Stdio::null()).output();
        let output = output.wrap("run the engine's command line")?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Output {
            rc: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    /// Kills the engine (SIGKILL), and it alone: containers go on, as on a node.
    ///
    /// # Errors
    ///
    /// When it outlives that.
    pub fn kill(&mut self) -> Result<()> {
        cell::kill(&mut self.process)
    }

    /// Starts the engine again on what it has, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start, with the end of what it said.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let programs = self.programs.as_deref();
        self.process = start_process(self.kind, &self.cell, self.folder.path(), programs)?;
        self.wait_until_up()
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        let socket = self.socket();
        while !is_up(&socket) {
            if self.process.has_ended() || Instant::now() > end {
                self.folder.keep();
                let error = Error::new(format!("{:?} does not answer", self.kind));
                return Err(error.with_logs(self.folder.path()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        chown(&socket, None, Some(self.group)).wrap_path("give away", &socket)?;
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o660))
            .wrap_path("set the mode of", &socket)
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

fn start_process(
    kind: Kind,
    cell: &Cell,
    folder: &Path,
    programs: Option<&Path>,
) -> Result<Process> {
    let socket = socket(folder);
    // Left by one that was killed; Podman does not take it over.
    let _ = fs::remove_file(&socket);
    let address = format!("unix://{}", socket.display());
    let mut command = match kind {
        Kind::Docker => {
            let mut command = cell.command("dockerd");
            command
                .args([
                    "--host",
                    &address,
                    "--exec-opt",
                    "native.cgroupdriver=cgroupfs",
                ])
                .args(["--bridge=none", "--iptables=false", "--ip-forward=false"])
                .arg("--ip-masq=false");
            for (option, name) in [
                ("data-root", "data"),
                ("exec-root", "run"),
                ("pidfile", "pid"),
            ] {
                let path = folder.join(name);
                command.arg(format!("--{option}={}", path.display()));
            }
            command
        }
        Kind::Podman => {
            let mut command = cell.command("podman");
            command.args(["system", "service", "--time=0", &address]);
            command
        }
    };
    if let Some(programs) = programs {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs.display()));
    }
    Process::start_command(&command, &folder.join("stderr"))
}

/// Podman's configuration, for the place that lies over `/etc` in the cell.
fn write_configuration(image: &Image, folder: &Path) -> Result<()> {
    let place = folder.join("over/etc/containers");
    fs::create_dir_all(&place).wrap_path("create", &place)?;
    let engines = image.file("engines").display().to_string();
    let here = folder.display().to_string();
    for (name, text) in [
        ("containers.conf", CONTAINERS_CONF),
        ("storage.conf", STORAGE_CONF),
        ("policy.json", POLICY),
    ] {
        let text = text.replace("ENGINES", &engines).replace("FOLDER", &here);
        let path = place.join(name);
        fs::write(&path, text).wrap_path("write", &path)?;
    }
    Ok(())
}

/// Whether the engine answers; that it listens is not enough, for Docker listens first.
fn is_up(socket: &Path) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.ends_with("OK"))
}
