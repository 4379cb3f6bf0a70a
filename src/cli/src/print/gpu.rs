//! `vfioctl gpu` for people.

use vfioctl_api::MemorySize;

use super::list::{NAME_COLUMNS, or_none};
use crate::output::Answered;
use crate::record::{GpuRecord, GpuTelemetryRecord, GpusRecord};
use crate::table::Table;
use crate::width::shortened;

impl Answered for GpusRecord {
    fn text(&self) -> String {
        if self.gpus.is_empty() {
            return String::new();
        }
        let mut table = Table::titled(&["GPU", "MODEL", "MEMORY", "STATE"]);
        for gpu in &self.gpus {
            table.row([
                gpu.gpu.clone(),
                shortened(&gpu.name, NAME_COLUMNS).into_owned(),
                memory(gpu.memory_mib),
                gpu.state.text.clone(),
            ]);
        }
        table.text("")
    }
}

/// The GPUs of a node with how each fares and who has it.
pub(super) fn fares_text(gpus: &[GpuRecord], indent: &str) -> String {
    let mut table = Table::titled(&[
        "GPU",
        "MODEL",
        "USE",
        "MEMORY",
        "TEMPERATURE",
        "POWER",
        "STATE",
    ]);
    for gpu in gpus {
        let number = gpu.number.to_string();
        let model = shortened(&gpu.name, NAME_COLUMNS).into_owned();
        let [utilisation, used, temperature, power] = cells(gpu);
        table.row([
            number,
            model,
            utilisation,
            used,
            temperature,
            power,
            gpu.state.text.clone(),
        ]);
    }
    table.text(indent)
}

/// Use, memory, temperature and power, as far as its driver tells.
fn cells(gpu: &GpuRecord) -> [String; 4] {
    const NOTHING: GpuTelemetryRecord = GpuTelemetryRecord {
        utilisation_percent: None,
        memory_used_mib: None,
        temperature_c: None,
        power_w: None,
        power_limit_w: None,
    };
    let fares = gpu.telemetry.as_ref().unwrap_or(&NOTHING);
    let memory = match (fares.memory_used_mib, gpu.memory_mib) {
        (Some(used), Some(all)) => format!("{used}/{all} MiB"),
        (Some(used), None) => format!("{used} MiB used"),
        (None, all) => memory(all),
    };
    let power = match (fares.power_w, fares.power_limit_w) {
        (Some(draw), Some(limit)) => Some(format!("{draw}/{limit} W")),
        (Some(draw), None) => Some(format!("{draw} W")),
        (None, _) => None,
    };
    [
        or_none(
            fares
                .utilisation_percent
                .map(|percent| format!("{percent}%")),
        ),
        memory,
        or_none(fares.temperature_c.map(|degrees| format!("{degrees} C"))),
        or_none(power),
    ]
}

fn memory(mib: Option<u64>) -> String {
    or_none(mib.map(|mib| MemorySize::from_mib(mib).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_sample::{gpu_node, offline_node};
    use crate::record::NodeRecord;
    use crate::record::schema::assert_answer;

    #[test]
    fn each_gpu_says_who_has_it_or_why_nobody_can() {
        let nodes: [NodeRecord; 2] = [gpu_node().into(), offline_node().into()];
        let record = GpusRecord {
            gpus: nodes.into_iter().flat_map(|node| node.gpus).collect(),
        };
        assert_eq!(
            record.text(),
            "\
GPU       MODEL                                         MEMORY  STATE
gpu-1::0  NVIDIA GeForce RTX 4090                       24 GiB  2 containers of ann, bob
gpu-1::1  NVIDIA GeForce RTX 4090                       24 GiB  reserved with GPU 2, for machine 01jd3k8000abc of ann
gpu-1::2  AMD/ATI Navi 31 [Radeon RX 7900 XT/7900 XTX…  24 GiB  in machine 01jd3k8000abc of ann
gpu-1::3  NVIDIA RTX A4000                              16 GiB  held by user 'carl' of the node
gpu-1::4  ASPEED Graphics Family                        -       not passable: the host's console is on it; not for containers: it has no driver that containers can use
gpu-1::5  Intel Arc A380                                -       free; not passable: it is in no IOMMU group: the IOMMU is off
gpu-1::6  NVIDIA GeForce RTX 3090                       24 GiB  free
gpu-1::7  NVIDIA GeForce RTX 3090                       -       not there
gpu-2::0  NVIDIA GeForce RTX 3090                       24 GiB  node offline; 1 container of bob, exclusively
gpu-2::1  NVIDIA GeForce RTX 3090                       24 GiB  node offline
"
        );
        assert_answer("gpu", &record);
    }
}
