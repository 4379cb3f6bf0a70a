//! What is on disk of a machine.

use serde::{Deserialize, Serialize};
use vfioctl_core::claim::MachineName;
use vfioctl_protocol::machine::Spec;

/// What is on disk of a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MachineRecord {
    pub(crate) schema: u32,
    pub(crate) uid: u32,
    pub(crate) boot_id: String,
    pub(crate) since: u64,
    pub(crate) spec: Spec,
    /// QEMU's process; absent until it has been started.
    pub(crate) process: Option<ProcessRecord>,
    pub(crate) unit: Option<String>,
    /// How it ended; absent while it has not.
    pub(crate) ended: Option<String>,
    pub(crate) devices_home: Vec<String>,
}

/// A process, told from a later one of the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
}

impl MachineRecord {
    /// Version of the file.
    pub(crate) const SCHEMA: u32 = 1;
}

/// The name of a machine's file: users have names of their own.
pub(crate) fn file_name(uid: u32, name: &MachineName) -> String {
    format!("{uid}-{name}")
}
