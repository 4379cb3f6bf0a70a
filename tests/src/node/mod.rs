//! A node of a cluster: the runner's own code in a process of its own, and a host that gives it work.
//!
//! The runner is a process, so that it can be killed at any moment ([`Node::kill`]), and a user without
//! rights but those of the engine's group and the helper's. Between it and the engine stands a
//! [`Wall`](wall::Wall), which can stop the world before and after each request. The host is this process:
//! it takes what the runner tells and gives orders, over a socket in the node's folder.

mod gpu;
mod host;
mod runner;
pub mod site;
pub mod wall;

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use vfioctl_api::{LogStream, Order, Phase, Submission, TaskId, Wanted};

pub use gpu::{FakeGpu, make_node};
pub use runner::run_runner_if_asked;

use crate::fake::SOCKET_GROUP;
use host::Host;

/// The group that may use the engine's socket.
pub const ENGINE_GROUP: u32 = 54321;
/// The user that the runner is: the same as Alice, who may call the helper.
pub const RUNNER: u32 = 1001;
/// How long anything may take that a test waits for; the longest, a stop with grace, takes 10 s.
const LIMIT: Duration = Duration::from_secs(60);

/// What a runner is told of its node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Setup {
    /// The engine's socket.
    pub engine: PathBuf,
    /// The helper's socket; a folder that is not there where there is no helper.
    pub helper: PathBuf,
    /// The image that is taken where none is named.
    pub default_image: String,
    /// Folders that may be mounted.
    pub mounts: Vec<PathBuf>,
    /// Where CDI specifications lie.
    pub cdi: Vec<PathBuf>,
    /// Folders with programs.
    pub programs: Vec<PathBuf>,
    /// Bytes that are kept of one log.
    pub max_log_bytes: u64,
    /// Ports for SSH.
    pub ssh_ports: [u16; 2],
    /// Machines; none where there are none.
    pub machines: Option<MachineSetup>,
    /// The name space of the network that the node is; none: that of this computer.
    pub network: Option<PathBuf>,
    /// More groups that the runner is in.
    pub groups: Vec<u32>,
}

/// What a runner is told of machines.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MachineSetup {
    /// The folder of base images.
    pub images: PathBuf,
    /// The address that they are reached at.
    pub address: String,
    /// The program passt.
    pub passt: PathBuf,
    /// The runner's program, which relays between a machine and passt.
    pub program: PathBuf,
    /// The group of the user that they run as, where that is another one.
    pub group: Option<String>,
    /// The socket through which they are asked for, where they run as another user.
    pub helper: Option<PathBuf>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    runner: Option<Child>,
    setup: Setup,
    host: Host,
    folder: TempDir,
}

impl Node {
    /// A node with a runner that has presented itself.
    ///
    /// # Panics
    /// Where it does not.
    pub fn start(setup: &Setup) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("vfioctl-node-")
            .tempdir()
            .unwrap();
        let open = |path: &Path, mode| {
            std::fs::create_dir_all(path).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        open(folder.path(), 0o755);
        for name in ["data", "shared", "host"] {
            open(&folder.path().join(name), 0o700);
            chown(folder.path().join(name), Some(RUNNER), Some(RUNNER)).unwrap();
        }
        open(&folder.path().join("shared"), 0o777);
        open(&folder.path().join("archives"), 0o755);
        let setup = Setup {
            default_image: "localhost/lab:1".into(),
            mounts: [setup.mounts.clone(), vec![folder.path().join("shared")]].concat(),
            max_log_bytes: setup.max_log_bytes.max(1 << 20),
            ..setup.clone()
        };
        std::fs::write(folder.path().join("gpus.json"), "[]").unwrap();
        let host = Host::start(&folder.path().join("host/socket"), RUNNER);
        let mut node = Self {
            runner: None,
            setup,
            host,
            folder,
        };
        node.restart();
        node
    }

    /// The folder that containers may see.
    pub fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    /// The folder of archives.
    pub fn archives(&self) -> PathBuf {
        self.folder.path().join("archives")
    }

    /// The folder of a task.
    pub fn task_folder(&self, task: &TaskId) -> PathBuf {
        self.folder.path().join("data/tasks").join(task.as_str())
    }

    /// Where the runner keeps everything.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Says which GPUs the node has from now on.
    pub fn set_gpus(&self, gpus: &[FakeGpu]) {
        let new = self.folder.path().join("gpus.new");
        std::fs::write(&new, serde_json::to_vec(gpus).unwrap()).unwrap();
        std::fs::rename(new, self.folder.path().join("gpus.json")).unwrap();
    }

    /// Kills the runner (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.runner.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Says what the next runner is told of machines.
    pub fn set_machines(&mut self, machines: MachineSetup) {
        self.setup.machines = Some(machines);
    }

    /// Kills the runner and starts it again.
    ///
    /// # Panics
    /// Where it does not present itself.
    pub fn restart(&mut self) {
        self.kill();
        let setup = serde_json::to_vec(&self.setup).unwrap();
        std::fs::write(self.folder.path().join("setup.json"), setup).unwrap();
        let before = self.host.registrations();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let own = [RUNNER, SOCKET_GROUP, ENGINE_GROUP];
        let groups: Vec<String> = own
            .iter()
            .chain(&self.setup.groups)
            .map(ToString::to_string)
            .collect();
        let groups = groups.join(",");
        let mut command = match &self.setup.network {
            None => Command::new("setpriv"),
            Some(space) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net={}", space.display()))
                    .arg("setpriv");
                command
            }
        };
        let child = command
            .args([
                "--reuid",
                &RUNNER.to_string(),
                "--regid",
                &RUNNER.to_string(),
                "--groups",
                &groups,
            ])
            .arg(runner::program())
            .env(runner::ASKED, self.folder.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.runner = Some(child);
        self.wait_for("the runner presents itself", |node| {
            node.host.registrations() > before
        });
    }

    /// What the runner has said, for whoever reads a failed test.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Gives an order.
    pub fn order(&self, order: &Order) {
        self.host.order(order.clone());
    }

    /// Wants something else of a task.
    pub fn want(&self, order: &mut Order, wanted: Wanted) {
        order.wanted = wanted;
        self.host.order(order.clone());
    }

    /// Submits work, under a number of its own.
    pub fn submit(&self, submission: &Submission) -> Order {
        let order = self.draft(submission);
        self.order(&order);
        order
    }

    /// An order that has not been given.
    pub fn draft(&self, submission: &Submission) -> Order {
        submission.check().unwrap();
        let target = submission.target.as_ref();
        Order {
            task: host::new_task(),
            run: 1,
            wanted: Wanted::Run,
            owner: "ann".parse().unwrap(),
            submission: submission.clone(),
            gpus: target.map(|target| target.gpus.clone()).unwrap_or_default(),
        }
    }

    /// Where a task is, as the host was told last.
    pub fn phase(&self, order: &Order) -> Option<Phase> {
        self.host.phase(&order.task, order.run)
    }

    /// Everything that the host was told of where a task is.
    pub fn phases(&self, order: &Order) -> Vec<Phase> {
        self.host.phases(&order.task)
    }

    /// The node, as its runner reported it last.
    pub fn report(&self) -> vfioctl_api::NodeReport {
        self.host.report().unwrap()
    }

    /// Waits until a run is over.
    pub fn wait_until_over(&self, order: &Order) -> Phase {
        self.wait_for("the run is over", |node| {
            node.phase(order).is_some_and(|phase| phase.is_over())
        });
        self.phase(order).unwrap()
    }

    /// Waits until a run runs.
    pub fn wait_until_running(&self, order: &Order) {
        self.wait_for("the run runs or is over", |node| {
            node.phase(order)
                .is_some_and(|phase| phase.is_over() || matches!(phase, Phase::Running { .. }))
        });
        let phase = self.phase(order).unwrap();
        assert!(
            matches!(phase, Phase::Running { .. }),
            "{phase:?}\n{}",
            self.log()
        );
    }

    /// Has a task removed, and waits until nothing of it is left.
    pub fn remove(&self, order: &mut Order) {
        self.want(order, Wanted::Remove);
        self.wait_for("the task is removed", |node| {
            node.phase(order) == Some(Phase::Removed)
        });
        assert!(!self.task_folder(&order.task).exists());
    }

    /// Reads a log as a user does, from an offset on; with `follow`, until the task's end.
    pub fn read_log(&self, order: &Order, log: LogStream, offset: u64, follow: bool) -> String {
        let stream = self.host.ask_for_log(&order.task, log, offset, follow);
        self.wait_for("the log is sent", |node| node.host.log(&stream).is_some());
        String::from_utf8_lossy(&self.host.log(&stream).unwrap()).into_owned()
    }

    /// Waits for something that comes soon.
    ///
    /// # Panics
    /// Where it does not come.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        self.wait_long_for(LIMIT, what, is_so);
    }

    /// Waits for something that takes its time.
    ///
    /// # Panics
    /// Where it does not come.
    #[track_caller]
    pub fn wait_long_for(&self, limit: Duration, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + limit;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "in vain: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("runner: {}", self.log());
        }
        self.kill();
    }
}
