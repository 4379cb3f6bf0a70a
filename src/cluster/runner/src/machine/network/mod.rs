//! The network of a machine: passt where it is installed and works, and QEMU's own network where not.
//!
//! passt needs no privilege and gives a guest whole speed; what a guest must not reach, the [`relay`] keeps
//! from it. QEMU's own network (libslirp) always lets a guest reach what listens on the loopback of its
//! node, which is told as a problem.

mod filter;
mod frames;
mod passt;
mod process;
mod relay;

use std::fs::Permissions;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use vfioctl_core::machine::Network;
use vfioctl_scan::SysRoot;

use super::folder::{MachineFolder, Place};
use crate::limits::{PASST_BELIEVED, RELAY_START};
use process::ProcessNote;
use relay::READY;

pub(crate) use relay::Relay;

/// How the relay is called on the command line of this program.
pub(crate) const RELAY_VERB: &str = "relay";
/// Longest answer of the relay.
const MAX_ANSWER: u64 = 32 << 10;

/// Networks of machines.
#[derive(Debug)]
pub(super) struct Networks {
    /// This program, which is the relay too.
    program: PathBuf,
    passt: PathBuf,
    root: Arc<SysRoot>,
    /// Whether passt works here, and when that was tried.
    tried: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Networks {
    /// Networks by these programs.
    pub(super) fn by(program: PathBuf, passt: PathBuf, root: Arc<SysRoot>) -> Self {
        Self {
            program,
            passt,
            root,
            tried: Mutex::default(),
        }
    }

    /// Whether passt works here; it is tried for real, with nobody to serve.
    ///
    /// # Errors
    /// Why it does not, and what that means, as a sentence.
    pub(super) async fn check_passt(&self) -> Result<(), String> {
        let last = self
            .tried
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((at, result)) = last
            && at.elapsed() < PASST_BELIEVED
        {
            return result;
        }
        let passt = self.passt.clone();
        let tried = tokio::task::spawn_blocking(move || match passt.exists() {
            true => relay::start_passt(&passt, &passt::arguments(None, &[])).map(drop),
            false => Err("passt is not installed (Debian's package 'passt')".to_owned()),
        });
        let result = match tried.await {
            Ok(tried) => tried,
            Err(error) => Err(error.to_string()),
        };
        let result = result.map_err(|because| {
            format!(
                "machines have QEMU's own network, by which their guests reach what listens on \
                 127.0.0.1 of this node: {because}"
            )
        });
        let mut last = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Instant::now(), result.clone()));
        result
    }

    /// Begins the network of a machine that is reached at a port; QEMU has so long to come to it.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub(super) async fn begin(
        &self,
        folder: &MachineFolder,
        reached: (IpAddr, u16),
        patience: Duration,
    ) -> Result<(), String> {
        // What an earlier try may have left.
        self.end(folder).await?;
        let socket = folder.path(Place::Socket);
        let failed = |error: io::Error| format!("cannot begin a network: {error}");
        let listener = listen(&socket, folder.group()).map_err(failed)?;
        let arguments = passt::arguments(Some(reached), &passt::find_servers(&self.root));
        let mut relay = Command::new(&self.program)
            .arg(RELAY_VERB)
            .arg("--passt")
            .arg(&self.passt)
            .arg("--socket")
            .arg(&socket)
            .arg("--note")
            .arg(folder.path(Place::Network))
            .arg("--patience")
            .arg(patience.as_secs().to_string())
            .arg("--")
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let answer = relay.stdout.take();
        let answer = tokio::time::timeout(RELAY_START, async {
            let mut text = String::new();
            if let Some(answer) = answer {
                // It closes it when it has said all.
                let _ = answer.take(MAX_ANSWER).read_to_string(&mut text).await;
            }
            text.trim_end().to_owned()
        });
        let answer = answer.await;
        // It goes on without us; while we are there, its end is ours to be seen.
        tokio::spawn(async move { relay.wait().await });
        match answer.as_deref() {
            Ok(READY) => Ok(()),
            Ok("") => Err("the relay of the network ended without a word".to_owned()),
            Ok(because) => Err(because.to_owned()),
            Err(_) => {
                self.end(folder).await?;
                let limit = RELAY_START.as_secs();
                Err(format!("the network is not ready after {limit} s"))
            }
        }
    }

    /// Ends the network of a machine, where it has not ended with it; nothing of it is left.
    ///
    /// # Errors
    /// Where it does not end, as a sentence.
    pub(super) async fn end(&self, folder: &MachineFolder) -> Result<(), String> {
        let (root, folder) = (Arc::clone(&self.root), folder.clone());
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(note) = ProcessNote::read(&folder.path(Place::Network)) {
                note.end(&root)?;
            }
            for place in [Place::Network, Place::Socket] {
                // Not there, as a rule: the relay removes them itself.
                let _ = std::fs::remove_file(folder.path(place));
            }
            Ok(())
        });
        ended.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Whether the network of a machine is there.
    pub(super) fn is_alive(&self, folder: &MachineFolder) -> bool {
        ProcessNote::read(&folder.path(Place::Network))
            .is_some_and(|note| note.is_alive(&self.root))
    }
}

/// Listens where QEMU will come, so that only its user and group get in.
fn listen(socket: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    if socket.as_os_str().len() > Network::MAX_SOCKET_LEN {
        return Err(io::Error::other(format!(
            "'{}' is longer than the {} bytes that the path of a socket may have",
            socket.display(),
            Network::MAX_SOCKET_LEN
        )));
    }
    let listener = UnixListener::bind(socket)?;
    // Its folder keeps everybody else out from the beginning.
    let mode = match group {
        Some(group) => {
            std::os::unix::fs::chown(socket, None, Some(group))?;
            0o660
        }
        None => 0o600,
    };
    std::fs::set_permissions(socket, Permissions::from_mode(mode))?;
    Ok(listener)
}
