//! Programs as child processes that cannot outlive their harness.
//!
//! `setpriv --pdeathsig` has the kernel end them when the harness ends in any way. Around QEMU,
//! `timeout` stands as well and ends it when the harness hangs. `setpriv` and not a `pre_exec`
//! hook, because that would take unsafe code.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::error::{Error, Result, Wrap};

const QEMU: &str = "qemu-system-x86_64";

type Request = (Command, Sender<io::Result<Child>>);

/// A running program, ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts QEMU; what it has to say goes to `folder/stderr`.
    pub(crate) fn start(args: &[String], life: Duration, folder: &Path) -> Result<Process> {
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", "--kill-after=5"])
            .arg(life.as_secs().to_string())
            .args(["setpriv", "--pdeathsig", "KILL", QEMU])
            .args(args);
        Process::start_command(&command, &folder.join("stderr"))
    }

    /// Starts a program with the arguments and the environment of a command; what it has to say
    /// goes to a file.
    pub(crate) fn start_command(command: &Command, log: &Path) -> Result<Process> {
        let name = Path::new(command.get_program()).to_owned();
        let file = File::options().create(true).append(true).open(log);
        let file = file.wrap_path("open", log)?;
        let mut guarded = Command::new("setpriv");
        guarded
            .args(["--pdeathsig", "KILL"].map(OsStr::new))
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .stdin(Stdio::null())
            .stdout(file.try_clone().wrap_path("open", log)?)
            .stderr(file);
        let child = spawn(guarded)?.wrap_path("start", &name)?;
        Ok(Process { child })
    }

    /// The process' number; `setpriv` has become the program.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, if the program has not ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        match pid {
            Some(pid) if !self.has_ended() => kill_process(pid, signal).wrap("send a signal"),
            _ => Err(Error::new("the program has ended")),
        }
    }

    /// Kills the program, if it has not ended.
    pub(crate) fn kill(&mut self) {
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Tells whether the program has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the program to end by itself, for a limited time.
    pub(crate) fn wait(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.has_ended() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where it is `timeout`, the kernel ends QEMU for that.
        self.kill();
    }
}

/// Spawns from a thread that lives as long as the harness: the kernel takes the end of the thread
/// that forked for the death of the parent, and the threads of tests end with their tests.
fn spawn(command: Command) -> Result<io::Result<Child>> {
    static SPAWNER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (sender, receiver) = channel();
    let sent = spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, sender));
    match (sent, receiver.recv()) {
        (Ok(()), Ok(child)) => Ok(child),
        _ => Err(Error::new("the thread that starts machines has ended")),
    }
}
