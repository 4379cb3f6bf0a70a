//! A helper on a machine in a folder: a process of its own, so that it can be killed.

use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vfioctl_helper::machine::{LaunchRequest, Launched, Launcher};
use vfioctl_helper::pin::Pins;
use vfioctl_helper::state::State;
use vfioctl_helper::{AcsState, Helper, Parts, server};
use vfioctl_scan::{SysRoot, read_boot_id};

use super::folder::set_mode;
use super::{FakeKernel, Machine};

/// Says to this program that it is a helper, and of which machine.
const ASKED: &str = "VFIOCTL_TESTS_HELPER_OF";

/// Number of the group whose members may call, as `etc/group` of the machine has it.
pub const SOCKET_GROUP: u32 = 987;

/// How long a helper may take to listen; it takes milliseconds.
const START: Duration = Duration::from_secs(30);

/// Makes this process a helper where it was started as one; then it does not return. To be called
/// first in `main`.
pub fn run_helper_if_asked() {
    let Some(folder) = std::env::var_os(ASKED) else {
        return;
    };
    // With the test that started it, however that ends.
    let signal = rustix::process::Signal::KILL;
    rustix::process::set_parent_process_death_signal(Some(signal)).unwrap();
    serve(&PathBuf::from(folder));
    std::process::exit(1);
}

/// Starts a helper for a machine, with this program, and waits until it listens.
pub fn start_helper(machine: &Machine) -> Child {
    let socket = machine.folder().join("run/vfioctl/helper.sock");
    let child = Command::new(std::env::current_exe().unwrap())
        .env(ASKED, machine.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(machine.folder().join("run/helper.log")).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + START;
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "the helper does not listen");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

fn serve(folder: &Path) {
    let machine = Machine::at(folder);
    let root = SysRoot::below(folder).unwrap();
    let boot_id = read_boot_id(&root).unwrap().unwrap();
    let runtime = folder.join("run/vfioctl");
    std::fs::create_dir_all(&runtime).unwrap();
    let helper = Arc::new(Helper::new(Parts {
        root,
        kernel: Box::new(FakeKernel::of(&machine)),
        launcher: Box::new(NoQemu),
        state: State::open(&folder.join("state"), boot_id).unwrap(),
        pins: Pins::open(&folder.join("etc/vfioctl/pinned")),
        acs: AcsState::open(&runtime).unwrap(),
        runtime: runtime.clone(),
        qemu: "/usr/bin/qemu-system-x86_64".into(),
    }));
    let listener = listen(&runtime.join("helper.sock"));
    let starting = Arc::clone(&helper);
    std::thread::spawn(move || starting.start());
    server::serve(&listener, &helper, None).unwrap();
}

fn listen(path: &Path) -> UnixListener {
    let _ = std::fs::remove_file(path);
    // Under another name until its owner and mode are right.
    let unready = path.with_extension("unready");
    let _ = std::fs::remove_file(&unready);
    let listener = UnixListener::bind(&unready).unwrap();
    chown(&unready, None, Some(SOCKET_GROUP)).unwrap();
    set_mode(&unready, 0o660);
    std::fs::rename(&unready, path).unwrap();
    listener
}

/// Machines run in the lab only.
#[derive(Debug)]
struct NoQemu;

impl Launcher for NoQemu {
    fn start(&self, _request: &LaunchRequest<'_>) -> Result<Launched, String> {
        Err("there is no QEMU on a machine in a folder".into())
    }

    fn find(&self, _unit: &str) -> Option<u32> {
        None
    }

    fn forks(&self) -> bool {
        false
    }
}
