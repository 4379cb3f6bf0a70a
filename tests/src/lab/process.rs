//! QEMU as a child process that cannot outlive its harness.
//!
//! Two guards stand around it. `setpriv --pdeathsig` has the kernel end QEMU when the harness ends
//! in any way, and `timeout` ends it when the harness hangs. `setpriv` and not a `pre_exec` hook,
//! because that would take unsafe code.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::error::{Error, Result, Wrap};

const QEMU: &str = "qemu-system-x86_64";

type Request = (Command, Sender<io::Result<Child>>);

/// A running QEMU, ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts QEMU; what it has to say goes to `folder/stderr`.
    pub(crate) fn start(args: &[String], life: Duration, folder: &Path) -> Result<Process> {
        let stderr = folder.join("stderr");
        let log = File::create(&stderr).wrap_path("create", &stderr)?;
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "TERM",
                "timeout",
                "--foreground",
                "--kill-after=5",
            ])
            .arg(life.as_secs().to_string())
            .args(["setpriv", "--pdeathsig", "KILL", QEMU])
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().wrap_path("open", &stderr)?)
            .stderr(log);
        let child = spawn(command)?.wrap_path("start", Path::new(QEMU))?;
        Ok(Process { child })
    }

    /// Tells whether QEMU has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for QEMU to end by itself, for a limited time.
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
        // This ends `timeout`, and the kernel ends QEMU for that.
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
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
