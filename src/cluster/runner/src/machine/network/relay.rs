//! The relay: a small process between QEMU and passt, of this same program.
//!
//! It starts passt and gives it one end of a pair of sockets; QEMU comes to the other end by the path that
//! the machine was told. So three things hold that passt alone does not give:
//!
//! * A guest cannot reach its own node: [`Filter`] stands between.
//! * The network outlives the runner, and ends with its machine: each end is closed by the kernel when
//!   its process ends, and the relay ends with either, and passt with the relay.
//! * passt opens no path. Debian's profile of AppArmor lets it make sockets below `/tmp` and in homes only
//!   (`/etc/apparmor.d/abstractions/passt`).

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use vfioctl_scan::SysRoot;

use super::filter::{Filter, is_local};
use super::frames::pass_on;
use super::process::ProcessNote;
use crate::limits::{PASST_START, POLL_PAUSE};

/// What the relay says when QEMU may come.
pub(super) const READY: &str = "ready";
/// How much is read of what passt complains about.
const MAX_COMPLAINT: u64 = 16 << 10;

/// What a relay is told. The socket that QEMU comes to is its standard input.
#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// The program passt.
    #[arg(long, value_name = "PATH")]
    pub(crate) passt: PathBuf,
    /// The path of the socket, which is removed once QEMU has come.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// Where it notes which process it is.
    #[arg(long, value_name = "PATH")]
    pub(crate) note: PathBuf,
    /// How long QEMU may take to come.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) patience: u64,
    /// What passt is told.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

impl Relay {
    /// Relays until the machine or passt has ended.
    ///
    /// # Errors
    /// Why there is no network, as a sentence; it has been said on standard output too.
    pub(crate) fn run(&self) -> Result<(), String> {
        // Not with the terminal, nor with the runner. Whoever leads a session already stays.
        let _ = rustix::process::setsid();
        let begun = self.begin();
        let said = match &begun {
            Ok(_) => READY,
            Err(because) => because,
        };
        // The runner may be gone; the machine is not.
        let _ = writeln!(io::stdout(), "{said}");
        let (listener, network) = begun?;
        if let Ok(null) = File::options().write(true).open("/dev/null") {
            // So that the runner sees that no more is said.
            let _ = rustix::stdio::dup2_stdout(&null);
        }
        let guest = accept(&listener, &network, Duration::from_secs(self.patience));
        let _ = std::fs::remove_file(&self.socket);
        drop(listener);
        let relayed = guest.and_then(|guest| relay(&guest, &network));
        let _ = std::fs::remove_file(&self.note);
        relayed.map_err(|error| format!("the network of '{}': {error}", self.socket.display()))
    }

    fn begin(&self) -> Result<(UnixListener, UnixStream), String> {
        let of_system = |error: io::Error| format!("cannot begin a network: {error}");
        let listener = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(of_system)?;
        SysRoot::live()
            .map_err(|error| error.to_string())
            .and_then(|root| ProcessNote::of_this(&root))
            .and_then(|note| note.write(&self.note))?;
        let network = start_passt(&self.passt, &self.arguments)?;
        Ok((listener.into(), network))
    }
}

/// Starts passt, and waits until it is ready: it then goes into the background. What it is connected to
/// is given; it ends when that is closed.
///
/// # Errors
/// Why it does not start, in its own words.
pub(super) fn start_passt(program: &Path, arguments: &[String]) -> Result<UnixStream, String> {
    let failed = |error: io::Error| format!("cannot start '{}': {error}", program.display());
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    rustix::io::fcntl_setfd(&theirs, FdFlags::empty()).map_err(|errno| failed(errno.into()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .args(["--fd", &theirs.as_raw_fd().to_string()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    drop(theirs);
    let deadline = Instant::now() + PASST_START;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            let limit = PASST_START.as_secs();
            return Err(format!("passt has not begun within {limit} s"));
        }
        thread::sleep(POLL_PAUSE);
    };
    if status.success() {
        return Ok(ours);
    }
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // It has ended, and all that it said is there.
        let _ = stderr.take(MAX_COMPLAINT).read_to_end(&mut said);
    }
    Err(format!("passt does not begin: {}", complaint(&said)))
}

/// What passt complains about, as one line. It also complains that nobody keeps a log of the system.
fn complaint(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines = text.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.contains("to syslog"))
        .collect();
    match lines.is_empty() {
        true => "it does not say why".to_owned(),
        false => lines.join("; "),
    }
}

/// Waits until QEMU has come, as long as there is a network for it.
fn accept(
    listener: &UnixListener,
    network: &UnixStream,
    patience: Duration,
) -> io::Result<UnixStream> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::other("QEMU has not come"));
        }
        let mut ends = [
            PollFd::new(listener, PollFlags::IN),
            // Only whether it has ended.
            PollFd::new(network, PollFlags::empty()),
        ];
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut ends, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) | Ok(0) => continue,
            Err(errno) => return Err(errno.into()),
            Ok(_) => {}
        }
        if ends.iter().skip(1).any(|end| !end.revents().is_empty()) {
            return Err(io::Error::other("passt has ended"));
        }
        return listener.accept().map(|(guest, _)| guest);
    }
}

/// Relays between a guest and its network until one of them ends, and ends the other.
fn relay(guest: &UnixStream, network: &UnixStream) -> io::Result<()> {
    use std::net::Shutdown::Both;
    let end = || {
        // Ended already, perhaps.
        let _ = guest.shutdown(Both);
        let _ = network.shutdown(Both);
    };
    let mut filter = Filter::new(is_local);
    thread::scope(|scope| {
        let inward = thread::Builder::new().spawn_scoped(scope, || {
            // A guest that ends breaks it, which is its usual end.
            let _ = pass_on(&mut &*network, &mut &*guest, |_| true);
            end();
        });
        if let Err(error) = inward {
            end();
            return Err(error);
        }
        let outward = pass_on(&mut &*guest, &mut &*network, |frame| {
            filter.lets_pass(frame)
        });
        end();
        match outward {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error),
            _ => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<UnixStream, String> {
        let script = script.to_owned();
        start_passt(Path::new("/bin/sh"), &["-c".into(), script])
    }

    #[test]
    fn passt_that_ends_well_has_gone_into_the_background() {
        let mut network = shell("exit 0").unwrap();
        // Here nobody is there, which is seen at once.
        assert_eq!(network.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn passt_that_does_not_begin_is_quoted() {
        let script = "echo Failed to send 9 bytes to syslog >&2; echo 'No route' >&2; exit 1";
        assert_eq!(shell(script).unwrap_err(), "passt does not begin: No route");
        assert_eq!(
            shell("exit 3").unwrap_err(),
            "passt does not begin: it does not say why"
        );
        let none = start_passt(Path::new("/nonexistent/passt"), &[]).unwrap_err();
        assert!(
            none.starts_with("cannot start '/nonexistent/passt': "),
            "{none}"
        );
    }

    #[test]
    fn either_end_ends_the_other() {
        for guest_first in [true, false] {
            let (guest, of_guest) = UnixStream::pair().unwrap();
            let (network, of_network) = UnixStream::pair().unwrap();
            let relayed = thread::spawn(move || relay(&of_guest, &of_network));
            let arp = {
                let mut frame = vec![0; 42];
                frame[12..14].copy_from_slice(&0x0806_u16.to_be_bytes());
                [&42_u32.to_be_bytes()[..], &frame].concat()
            };
            for (mut from, mut to) in [(&guest, &network), (&network, &guest)] {
                from.write_all(&arp).unwrap();
                let mut came = vec![0; arp.len()];
                to.read_exact(&mut came).unwrap();
                assert_eq!(came, arp);
            }
            let (first, mut second) = match guest_first {
                true => (guest, network),
                false => (network, guest),
            };
            drop(first);
            assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
            relayed.join().unwrap().unwrap();
        }
    }

    #[test]
    fn qemu_has_a_limit_and_a_network_that_ended_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("net.sock")).unwrap();
        let (network, of_passt) = UnixStream::pair().unwrap();
        let accept = |patience| accept(&listener, &network, patience);
        let text = |patience| accept(patience).unwrap_err().to_string();
        assert_eq!(text(Duration::from_millis(20)), "QEMU has not come");
        drop(of_passt);
        assert_eq!(text(Duration::from_secs(60)), "passt has ended");
    }

    #[test]
    fn guest_that_calls_its_node_is_not_heard() {
        let (guest, of_guest) = UnixStream::pair().unwrap();
        let (network, of_network) = UnixStream::pair().unwrap();
        let relayed = thread::spawn(move || relay(&of_guest, &of_network));
        let call = |target: [u8; 4]| {
            let mut frame = vec![0; 54];
            frame[12..14].copy_from_slice(&0x0800_u16.to_be_bytes());
            frame[14] = 0x45;
            frame[23] = 6;
            frame[30..34].copy_from_slice(&target);
            frame[47] = 2;
            [&54_u32.to_be_bytes()[..], &frame].concat()
        };
        let (near, far) = (call([127, 0, 0, 1]), call([203, 0, 113, 9]));
        (&guest).write_all(&[near, far.clone()].concat()).unwrap();
        let mut came = vec![0; far.len()];
        (&network).read_exact(&mut came).unwrap();
        assert_eq!(came, far);
        drop(guest);
        relayed.join().unwrap().unwrap();
        assert_eq!((&network).read(&mut [0; 1]).unwrap(), 0);
    }
}
