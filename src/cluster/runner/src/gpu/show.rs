//! Showing the GPUs of a node as its runner sees them: `vfioctl-runner gpus`.

use std::io::Write as _;

use serde::Serialize;
use vfioctl_api::{Capability, Gpu, GpuTelemetry};

use super::LiveGpus;
use super::nvml::{Last, Report};
use crate::node::{DeviceNodes, GpuDetail, Gpus as _};

/// Version of the answer's form.
const SCHEMA: u32 = 1;

/// The answer, for programs.
#[derive(Debug, Serialize)]
struct Answer {
    schema: u32,
    gpus: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nvml: Option<NvmlEntry>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Entry {
    #[serde(flatten)]
    gpu: Gpu,
    nodes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    telemetry: Option<GpuTelemetry>,
}

/// How NVML was read.
#[derive(Debug, Serialize)]
struct NvmlEntry {
    took_ms: u64,
    /// Nodes of the driver that were open while it was read.
    open_nodes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Looks at the GPUs and prints them.
///
/// # Errors
/// Where they cannot be printed, as a sentence.
pub(crate) async fn show(gpus: &LiveGpus, json: bool) -> Result<(), String> {
    let text = match json {
        true => format!("{:#}\n", answer_json(gpus).await?),
        false => Answer::of(gpus).await.text(),
    };
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .map_err(|error| format!("cannot print: {error}"))
}

/// Looks at the GPUs; what `vfioctl-runner gpus --json` prints.
///
/// # Errors
/// Where they cannot be written as JSON, as a sentence.
pub async fn answer_json(gpus: &LiveGpus) -> Result<serde_json::Value, String> {
    serde_json::to_value(Answer::of(gpus).await).map_err(|error| error.to_string())
}

impl Entry {
    fn of(detail: GpuDetail, telemetry: &[GpuTelemetry]) -> Self {
        let GpuDetail { gpu, nodes } = detail;
        let is_its = |one: &&GpuTelemetry| one.number == gpu.number;
        Self {
            telemetry: telemetry.iter().find(is_its).cloned(),
            nodes: shown(&nodes),
            gpu,
        }
    }

    fn text(&self) -> String {
        let gpu = &self.gpu;
        let mut lines = vec![format!("GPU {}: {} ({})", gpu.number, gpu.name, gpu.id)];
        let mut line = |label: &str, value: String| lines.push(format!("  {label:<11}{value}"));
        match gpu.present {
            true => line("at", format!("{} ({})", gpu.address, gpu.path)),
            false => line("was at", format!("{} ({})", gpu.address, gpu.path)),
        }
        line(
            "driver",
            gpu.driver.clone().unwrap_or_else(|| "none".into()),
        );
        if let Some(uuid) = &gpu.uuid {
            line("UUID", uuid.clone());
        }
        if let Some(memory) = gpu.memory_mib {
            line("memory", format!("{memory} MiB"));
        }
        if !self.nodes.is_empty() {
            line("nodes", self.nodes.join(" "));
        }
        line("machines", capability(&gpu.vfio));
        line("containers", capability(&gpu.containers));
        if !gpu.functions.is_empty() {
            line("functions", gpu.functions.join(" "));
        }
        if !gpu.together.is_empty() {
            let numbers: Vec<String> = gpu.together.iter().map(ToString::to_string).collect();
            line("not apart", format!("from GPU {}", numbers.join(", ")));
        }
        for holder in &gpu.holders {
            line("held by", holder.to_string());
        }
        if let Some(now) = self.telemetry.as_ref().and_then(fares) {
            line("now", now);
        }
        lines.join("\n") + "\n"
    }
}

impl Answer {
    async fn of(gpus: &LiveGpus) -> Self {
        let details = gpus.look().await.into_iter();
        let telemetry = gpus.telemetry().await;
        Self {
            schema: SCHEMA,
            gpus: details
                .map(|detail| Entry::of(detail, &telemetry))
                .collect(),
            nvml: NvmlEntry::of(&gpus.last_of_nvml()),
            problems: gpus.problems().await,
        }
    }

    fn text(&self) -> String {
        let mut text: Vec<String> = self.gpus.iter().map(Entry::text).collect();
        if self.gpus.is_empty() {
            text.push("this node has no GPU\n".into());
        }
        text.extend(self.problems.iter().map(|problem| format!("! {problem}\n")));
        text.join("\n")
    }
}

impl NvmlEntry {
    fn of(last: &Last) -> Option<Self> {
        let (outcome, took) = last.outcome()?;
        let (open_nodes, problem) = match outcome {
            Ok(Report::Read { open_nodes, .. }) => (open_nodes.clone(), None),
            Ok(Report::Absent { reason } | Report::Failed { reason }) | Err(reason) => {
                (Vec::new(), Some(reason.clone()))
            }
        };
        Some(Self {
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            open_nodes,
            problem,
        })
    }
}

fn shown(nodes: &DeviceNodes) -> Vec<String> {
    let all = nodes.all().into_iter();
    all.map(|path| path.display().to_string()).collect()
}

fn capability(capability: &Capability) -> String {
    match (&capability.reason, capability.available) {
        (Some(reason), _) => format!("no: {reason}"),
        (None, true) => "yes".into(),
        (None, false) => "no".into(),
    }
}

/// How a GPU fares, on one line; none, where it tells nothing.
fn fares(now: &GpuTelemetry) -> Option<String> {
    let parts = [
        now.utilisation_percent
            .map(|percent| format!("{percent} % busy")),
        now.memory_used_mib.map(|mib| format!("{mib} MiB used")),
        now.temperature_c.map(|degrees| format!("{degrees} °C")),
        now.power_w.map(|watts| match now.power_limit_w {
            Some(limit) => format!("{watts} W of {limit} W"),
            None => format!("{watts} W"),
        }),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use vfioctl_api::{Holder, HolderKind, Vendor};

    use super::*;

    fn entry() -> Entry {
        Entry {
            gpu: Gpu {
                number: 2.into(),
                present: true,
                address: "0000:01:00.0".into(),
                path: "pci0000:00/01.0/00.0".into(),
                vendor: Vendor::Nvidia,
                id: "10de:2684".into(),
                name: "NVIDIA GeForce RTX 4090".into(),
                uuid: Some("GPU-1".into()),
                memory_mib: Some(24_564),
                driver: Some("nvidia".into()),
                numa: None,
                iommu_group: Some(7),
                functions: vec!["0000:01:00.0".into(), "0000:01:00.1".into()],
                together: vec![3.into()],
                vfio: Capability::no("0000:01:00.0 is used by container 'x'"),
                containers: Capability::yes(),
                holders: vec![Holder {
                    kind: HolderKind::Container,
                    name: "x".into(),
                    user: Some("ann".into()),
                    exclusive: false,
                }],
            },
            nodes: vec!["/dev/nvidia0".into()],
            telemetry: Some(GpuTelemetry {
                number: 2.into(),
                utilisation_percent: Some(7),
                memory_used_mib: None,
                temperature_c: Some(41),
                power_w: Some(30),
                power_limit_w: Some(450),
            }),
        }
    }

    #[test]
    fn a_gpu_is_shown_line_by_line() {
        let expected = "\
GPU 2: NVIDIA GeForce RTX 4090 (10de:2684)
  at         0000:01:00.0 (pci0000:00/01.0/00.0)
  driver     nvidia
  UUID       GPU-1
  memory     24564 MiB
  nodes      /dev/nvidia0
  machines   no: 0000:01:00.0 is used by container 'x'
  containers yes
  functions  0000:01:00.0 0000:01:00.1
  not apart  from GPU 3
  held by    container 'x' of ann
  now        7 % busy, 41 °C, 30 W of 450 W
";
        assert_eq!(entry().text(), expected);
    }

    #[test]
    fn a_node_without_gpus_says_so_and_problems_come_last() {
        let answer = Answer {
            schema: SCHEMA,
            gpus: Vec::new(),
            nvml: None,
            problems: vec!["something".into()],
        };
        assert_eq!(answer.text(), "this node has no GPU\n\n! something\n");
    }
}
