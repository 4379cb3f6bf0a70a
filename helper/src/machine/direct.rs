//! Starting QEMU without systemd: forked by the helper, equally confined.

use std::fs::OpenOptions;

use super::{LaunchRequest, Launched, Launcher};
use crate::sys::{Confinement, spawn};

/// Starts QEMU as a child that outlives the helper.
#[derive(Debug)]
pub struct DirectLauncher {
    /// The group whose members may call the helper; QEMU is not in it.
    pub helper_group: Option<u32>,
}

impl Launcher for DirectLauncher {
    fn start(&self, request: &LaunchRequest<'_>) -> Result<Launched, String> {
        // The log belongs to the user and is in root's group, by which it is opened here; it was made
        // empty in a folder of root's, so it is still the same file.
        let log = OpenOptions::new()
            .append(true)
            .open(request.log)
            .map_err(|error| format!("cannot open a log for QEMU: {error}"))?;
        let peer = request.peer;
        let groups = peer
            .groups
            .iter()
            .copied()
            .filter(|group| Some(*group) != self.helper_group)
            .collect();
        let confinement = Confinement {
            uid: peer.uid,
            gid: peer.gid,
            groups,
            locked_memory_bytes: request.locked_memory_bytes,
        };
        spawn(request.arguments, &confinement, log)
            .map(|pid| Launched { pid, unit: None })
            .map_err(|error| {
                let program = request.arguments.first().map_or("", String::as_str);
                format!("cannot start '{program}': {error}")
            })
    }

    fn find(&self, _unit: &str) -> Option<u32> {
        None
    }

    fn forks(&self) -> bool {
        true
    }
}
