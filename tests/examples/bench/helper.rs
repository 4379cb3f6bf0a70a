//! The helper as a service: how soon it answers, how fast, and what it holds meanwhile.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Client, DESCRIBE, GET_VERSION};
use crate::table::Aim;
use crate::timing::{PRELUDE, ROUNDS, Times};
use crate::{Bench, IN_LAB, Result, run};

const CALLS: usize = 5000;
const CONNECTIONS: usize = 8;
/// Longest wait for a helper that should answer, or end.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let activation = activation_in_lab(bench);
    let here = here(bench);
    activation.and(here)
}

/// Beside the least that a service can be, and one that every Debian has.
fn activation_in_lab(bench: &mut Bench) -> Result<()> {
    let lab = bench.lab()?;
    let script = format!(
        "{PRELUDE}
        cat >/run/systemd/system/empty.socket <<'END'
[Socket]
ListenStream=/run/empty.sock
END
        cat >/run/systemd/system/empty.service <<'END'
[Service]
ExecStart={IN_LAB}/bench answer
StandardInput=socket
END
        systemctl daemon-reload
        systemctl start empty.socket
        ask() {{ {IN_LAB}/bench client /run/$1.sock '{GET_VERSION}' || exit; }}
        hostname() {{
            busctl call org.freedesktop.hostname1 /org/freedesktop/hostname1 \
                org.freedesktop.DBus.Peer Ping
        }}
        for round in {{1..{ROUNDS}}}; do
            systemctl stop vfioctl-helper.service systemd-hostnamed.service
            systemctl reset-failed
            first=$(ask vfioctl/helper); echo \"helper ${{first#client }}\"
            again=$(ask vfioctl/helper); echo \"again ${{again#client }}\"
            first=$(ask empty); echo \"empty ${{first#client }}\"
            timed hostnamed hostname
            timed hostnamed-again hostname
        done"
    );
    let times = Times::parse(&run(&lab, &script)?);
    let ours = times.ms("helper")?;
    let what = "lab: first answer after socket activation";
    // Most of a call by busctl is busctl; what the start adds is the difference.
    let hostnamed = times.ms("hostnamed")? - times.ms("hostnamed-again")?;
    let table = &mut bench.table;
    table.compare(
        what,
        "ms",
        ours,
        ("systemd-hostnamed", hostnamed),
        Aim::None,
    );
    let empty = ("an empty service", times.ms("empty")?);
    table.compare(what, "ms", ours, empty, Aim::None);
    table.alone(
        "lab: an answer when it runs",
        "ms",
        times.ms("again")?,
        Aim::None,
    );
    Ok(())
}

/// On this machine, without systemd: the socket is passed as systemd passes it.
fn here(bench: &mut Bench) -> Result<()> {
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let helper = Helper::start(&bench.folder, "0")?;
        let mut client = helper.connect()?;
        client.call(GET_VERSION)?;
        times.add("first", micros(helper.started.elapsed()));
    }
    let helper = Helper::start(&bench.folder, "0")?;
    let mut client = helper.connect()?;
    client.call(GET_VERSION)?;
    let idle = helper.memory_mib("VmRSS:")?;
    for _ in 0..CALLS {
        let start = Instant::now();
        client.call(GET_VERSION)?;
        times.add("call", micros(start.elapsed()));
    }
    load(&helper)?;
    let table = &mut bench.table;
    table.alone(
        "here: first answer after socket activation",
        "ms",
        times.ms("first")?,
        Aim::Below(30.0),
    );
    table.alone(
        "here: a call (GetVersion)",
        "µs",
        times.ms("call")? * 1000.0,
        Aim::Below(50.0),
    );
    table.alone("memory of the helper, idle", "MiB", idle, Aim::Below(6.0));
    table.alone(
        "memory of the helper, after load",
        "MiB",
        helper.memory_mib("VmRSS:")?,
        Aim::Below(6.0),
    );
    table.alone(
        "memory of the helper, at its most",
        "MiB",
        helper.memory_mib("VmHWM:")?,
        Aim::None,
    );
    drop(helper);
    let ended = end_when_idle(&bench.folder)?;
    let what = "ends when idle for 1 s, after";
    bench.table.alone(what, "s", ended, Aim::Below(3.0));
    Ok(())
}

/// Several callers at once, with the dearest question.
fn load(helper: &Helper) -> Result<()> {
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = helper.connect()?;
                    (0..100).try_for_each(|_| client.call(DESCRIBE))
                })
            })
            .collect();
        callers
            .into_iter()
            .try_for_each(|caller| caller.join().map_err(|_| "a caller panicked".to_owned())?)
    })
}

fn end_when_idle(folder: &Path) -> Result<f64> {
    let mut helper = Helper::start(folder, "1")?;
    helper.connect()?.call(GET_VERSION)?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let ended = helper.child.try_wait().map_err(|error| error.to_string())?;
        match ended {
            Some(status) if status.success() => return Ok(start.elapsed().as_secs_f64()),
            Some(status) => return Err(format!("the idle helper ended with {status}")),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Err("the idle helper does not end".into())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A helper with state of its own, ended when dropped.
struct Helper {
    child: Child,
    started: Instant,
    folder: tempfile::TempDir,
}

impl Helper {
    fn start(programs: &Path, idle_s: &str) -> Result<Self> {
        let text = |error: std::io::Error| format!("start the helper: {error}");
        let folder = tempfile::tempdir().map_err(text)?;
        let state = folder.path().join("state");
        let runtime = folder.path().join("run");
        for place in [&state, &runtime] {
            std::fs::create_dir(place).map_err(text)?;
        }
        let socket = UnixListener::bind(folder.path().join("sock")).map_err(text)?;
        let program = std::path::absolute(programs.join("vfioctl-helper")).map_err(text)?;
        let started = Instant::now();
        let child = Command::new("sh")
            .args([
                "-c",
                "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0 </dev/null",
                "sh",
            ])
            .arg(program)
            .args(["--direct", "--idle", idle_s, "--state"])
            .arg(state)
            .arg("--runtime")
            .arg(runtime)
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(text)?;
        Ok(Self {
            child,
            started,
            folder,
        })
    }

    fn connect(&self) -> Result<Client> {
        Client::connect(&self.folder.path().join("sock"))
            .map_err(|error| format!("the helper does not listen: {error}"))
    }

    /// A line of `/proc/PID/status` that counts KiB.
    fn memory_mib(&self, name: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let kib: Option<f64> = text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.split_whitespace().next()?.parse().ok()
        });
        kib.map(|kib| kib / 1024.0)
            .ok_or_else(|| format!("{path} has no {name}"))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
