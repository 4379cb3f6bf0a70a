//! A host as a process, set up as an administrator does it.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::OUTSIDE_PORTS;

use super::{Answer, Identity, Wire, own_program};

/// Until a host listens, or has ended: making keys takes a while on a busy machine.
const START: Duration = Duration::from_secs(60);

/// What a cluster is kept in.
#[derive(Debug, Clone)]
pub enum StoreOf {
    /// A file of its own.
    File,
    /// etcd, at these addresses, below a prefix that is the cluster's.
    Etcd(Vec<String>),
}

/// A host, on the loopback.
#[derive(Debug)]
pub struct ClusterHost {
    folder: TempDir,
    address: SocketAddr,
    admin: String,
    /// The words that start the program, where it is not this one.
    program: Vec<OsString>,
    process: Option<Child>,
}

/// A node that has joined.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it proves to be itself with.
    pub identity: Identity,
    /// Its runner's folder.
    pub data: PathBuf,
}

impl ClusterHost {
    /// Sets up a cluster and starts its host, which is this program: see [`super::act_if_asked`].
    pub fn start(store: &StoreOf) -> Self {
        Self::start_as(store, Vec::new(), None)
    }

    /// The same, where nodes are labs, which know it by another name.
    pub fn start_for_labs(store: &StoreOf) -> Self {
        let name = format!("https://outside:{}", OUTSIDE_PORTS[0]);
        Self::start_as(store, Vec::new(), Some(&name))
    }

    /// Sets up a cluster and starts its host by these words: the program, with what runs it before it.
    pub fn start_program(store: &StoreOf, program: Vec<OsString>) -> Self {
        Self::start_as(store, program, None)
    }

    fn start_as(store: &StoreOf, program: Vec<OsString>, name: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let store = match store {
            StoreOf::File => "store = \"embedded\"".to_owned(),
            StoreOf::Etcd(endpoints) => {
                format!("store = \"etcd\"\n[host.etcd]\nendpoints = {endpoints:?}")
            }
        };
        let data = folder.path().join("data");
        let named = name.map_or_else(String::new, |name| format!("address = {name:?}\n"));
        let text = format!("[host]\nlisten = \"{address}\"\ndata = {data:?}\n{named}{store}\n");
        std::fs::write(folder.path().join("vfioctl.toml"), text).unwrap();
        let mut host = Self {
            folder,
            address,
            admin: String::new(),
            program,
            process: None,
        };
        let output = host.try_program(&["init", "--name", "127.0.0.1", "--name", "outside"]);
        assert!(output.status.success(), "{output:?}");
        host.admin = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert!(!host.admin.is_empty(), "{:?}", host.admin);
        host.serve();
        host
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.program.split_first() {
            None => own_program("host"),
            Some((first, others)) => {
                let mut command = Command::new(first);
                command.args(others);
                command
            }
        };
        command
            .arg("--config")
            .arg(self.folder.path().join("vfioctl.toml"))
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Runs the program with other words, to its end.
    pub fn try_program(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts it, where it does not run.
    pub fn serve(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let process = self.command(&["serve"]).stderr(log).spawn().unwrap();
        self.process = Some(process);
        let deadline = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "no host listens: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Its process; none while it does not run.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it has written into the journal.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Its files.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is named.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate that it can be known by.
    pub fn authority(&self) -> String {
        std::fs::read_to_string(self.data().join("authority.pem")).unwrap()
    }

    /// The first administrator's token.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// A way to it, as nobody.
    pub fn wire(&self) -> Wire {
        Wire::new(self.address, &self.authority(), None)
    }

    /// A way to it, as a node.
    pub fn wire_of(&self, identity: &Identity) -> Wire {
        Wire::new(self.address, &self.authority(), Some(identity))
    }

    /// Asks as the administrator, and is answered well.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_ask(method, path, body);
        assert!(
            (200..300).contains(&answer.status),
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
        answer.json()
    }

    /// Asks as the administrator.
    pub fn try_ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        self.wire().ask(method, path, Some(&self.admin), &body)
    }

    /// Adds a user; their token is valid for so long, or for ever.
    pub fn add_user(&self, name: &str, role: &str, valid: Option<Duration>) -> String {
        self.ask("POST", "/v1/users", &json!({"name": name, "role": role}));
        let request = match valid {
            Some(valid) => json!({"valid_s": valid.as_secs()}),
            None => json!({}),
        };
        let token = self.ask("POST", &format!("/v1/users/{name}/tokens"), &request);
        token["token"].as_str().unwrap().to_owned()
    }

    /// Lets a node join, by the runner's own program.
    pub fn join(&self, name: &str) -> Member {
        let invitation = self.ask("POST", "/v1/joins", &json!({"node": name}));
        let data = self.folder.path().join(name);
        std::fs::create_dir(&data).unwrap();
        let config = data.join("vfioctl.toml");
        std::fs::write(&config, format!("[runner]\ndata = {data:?}\n")).unwrap();
        let token = data.join("token");
        std::fs::write(&token, invitation["token"].as_str().unwrap()).unwrap();
        let output = own_program("runner")
            .arg("--config")
            .arg(config)
            .args(["join", &self.url(), "--token-file"])
            .arg(token)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let read = |file: &str| std::fs::read_to_string(data.join(file)).unwrap();
        Member {
            name: name.to_owned(),
            identity: Identity {
                certificate: read("node.pem"),
                key: read("node.key"),
            },
            data,
        }
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for ClusterHost {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address of the loopback that nobody listens at now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
