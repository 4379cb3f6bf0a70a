//! A real etcd for a test, on the loopback and in a folder of its own.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long etcd may take to answer after it was started.
const START_TIME: Duration = Duration::from_secs(30);

/// A server, killed when dropped.
///
/// The kernel ends it when the thread ends that started it, however the test ends. So it is to be
/// started, and started again, by the thread that runs the trial and not by another of its runtime.
pub(crate) struct Server {
    folder: TempDir,
    name: String,
    client_port: u16,
    peer_port: u16,
    /// `NAME=URL` of all members.
    cluster: String,
    /// Further arguments, such as those of TLS.
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// Starts one that speaks without TLS.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// Starts one with more arguments, for files that may be put into its folder.
    pub(crate) fn start_with(arguments: impl Fn(&Path) -> Vec<String>) -> Self {
        let mut server = Self::new(0);
        server.arguments = arguments(server.folder.path());
        server.cluster = server.member();
        server.spawn();
        server.wait();
        server
    }

    /// Starts several that are one cluster.
    pub(crate) fn cluster(count: usize) -> Vec<Self> {
        let mut servers: Vec<_> = (0..count).map(Self::new).collect();
        let members: Vec<_> = servers.iter().map(Self::member).collect();
        for server in &mut servers {
            server.cluster = members.join(",");
            server.spawn();
        }
        servers.iter().for_each(Self::wait);
        servers
    }

    fn new(number: usize) -> Self {
        let (client_port, peer_port) = free_ports();
        Self {
            folder: TempDir::new().unwrap(),
            name: format!("member{number}"),
            client_port,
            peer_port,
            cluster: String::new(),
            arguments: Vec::new(),
            process: None,
        }
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    fn member(&self) -> String {
        format!("{}={}", self.name, self.peer_url())
    }

    fn spawn(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))
            .unwrap();
        let (client, peer) = (self.endpoint(), self.peer_url());
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(path())
            .args(["--name", &self.name, "--data-dir"])
            .arg(self.file("data"))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &self.cluster])
            // The shortest lease is one and a half elections, in whole seconds: one.
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(["--logger", "zap", "--log-level", "warn"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    /// Kills it and starts it again, with the same data in the same place.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.spawn();
        self.wait();
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops it in the middle of whatever it does.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    pub(crate) fn port(&self) -> u16 {
        self.client_port
    }

    pub(crate) fn endpoint(&self) -> String {
        let is_secure = self
            .arguments
            .iter()
            .any(|argument| argument.starts_with("--cert-file"));
        let scheme = if is_secure { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wait(&self) {
        let end = Instant::now() + START_TIME;
        while std::net::TcpStream::connect(("127.0.0.1", self.client_port)).is_err() {
            let log = || std::fs::read_to_string(self.file("log")).unwrap();
            assert!(Instant::now() < end, "etcd does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Two that nobody listens on. Somebody else may take them before etcd does, which then fails.
fn free_ports() -> (u16, u16) {
    let listen = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (one, other) = (listen(), listen());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    (port(&one), port(&other))
}

/// Whether there is an etcd to start, or why not.
pub(crate) fn find() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    FOUND
        .get_or_init(|| if is_installed() { Ok(()) } else { unpack() })
        .clone()
}

fn is_installed() -> bool {
    let version = Command::new("etcd")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd")
}

fn path() -> PathBuf {
    let unpacked = unpacked().join("usr/bin/etcd");
    if unpacked.exists() {
        unpacked
    } else {
        "etcd".into()
    }
}

/// Unpacks Debian's package. Installing it would start a service of the machine.
fn unpack() -> Result<(), String> {
    if path().is_absolute() {
        return Ok(());
    }
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
    let script = "download() { apt-get download -qq -o APT::Sandbox::User=root etcd-server; }
        download 2>/dev/null || { apt-get update -qq && download; } || exit
        dpkg-deb --extract etcd-server_*.deb root && rm -rf root/usr/share";
    let run = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder.path())
        .output();
    let why = match run {
        Ok(output) if output.status.success() => {
            let moved = std::fs::rename(folder.path().join("root"), unpacked());
            return moved.map_err(|error| error.to_string());
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "etcd is not installed, and Debian's package cannot be had: {why}"
    ))
}
