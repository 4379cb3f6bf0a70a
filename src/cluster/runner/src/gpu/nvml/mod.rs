//! NVML, the library of NVIDIA's driver: <https://docs.nvidia.com/deploy/nvml-api/>.
//!
//! It is read by a child of the runner, `vfioctl-runner nvml ADDRESS...`, which ends as soon as it has
//! read; `asking` starts it, `reading` is what it does. A thread would do for a driver that answers.
//! This is for the others:
//!
//! * A program that has NVML open has `/dev/nvidiaN` open. The driver does not let go of a GPU as long as
//!   anybody has, and drivers from 595 on never do after that (`nv_pci_remove_helper`; reported as
//!   NVIDIA/open-gpu-kernel-modules#1119 and #1374). So a GPU is open for the moment of reading, and not
//!   at all while the runner has it taken by the helper (`Gpus::let_go`).
//! * A driver that hangs takes whoever asks it along, unkillable: a thread would keep the runner from
//!   ending, and its successor from starting. A child is left behind, and no other is started beside it.
//! * What the library leaves behind at each opening and closing, it leaves in a process that ends.

mod asking;
mod reading;

use serde::{Deserialize, Serialize};
use vfioctl_core::pci::PciAddress;

pub(super) use asking::{Asked, Last, Nvml};
pub(crate) use reading::run;

/// What one reading has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Report {
    /// NVML was read.
    Read {
        /// What it says of each GPU that was asked for.
        gpus: Vec<Reading>,
        /// The driver's nodes that the process had open at the end of reading.
        open_nodes: Vec<String>,
    },
    /// There is no NVML, or no driver behind it; that is normal.
    Absent {
        /// Why, as a sentence.
        reason: String,
    },
    /// NVML is there and does not work.
    Failed {
        /// Why, as a sentence.
        reason: String,
    },
}

/// What NVML says of a GPU. What a model or a driver does not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reading {
    /// Its address, as it was asked for.
    pub(super) address: String,
    /// Why nothing can be said of it, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Its UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uuid: Option<String>,
    /// Number of its node: N of `/dev/nvidiaN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) minor: Option<u32>,
    /// Its memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) memory_mib: Option<u64>,
    /// Its memory in use, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) memory_used_mib: Option<u64>,
    /// How busy it is, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) utilisation_percent: Option<u32>,
    /// Temperature in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) temperature_c: Option<i32>,
    /// Power draw in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) power_w: Option<u32>,
    /// Power limit in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) power_limit_w: Option<u32>,
}

impl Reading {
    /// Nothing yet, of the GPU at an address.
    pub(super) fn of(address: PciAddress) -> Self {
        Self {
            address: address.to_string(),
            problem: None,
            name: None,
            uuid: None,
            minor: None,
            memory_mib: None,
            memory_used_mib: None,
            utilisation_percent: None,
            temperature_c: None,
            power_w: None,
            power_limit_w: None,
        }
    }
}
