//! `vfioctl node status` for people: everything about one node.

use super::{about, mib, section};
use crate::print::gpu::fares_text;
use crate::print::list::or_none;
use crate::print::moment;
use crate::print::show::size_text;
use crate::record::{CapabilityRecord, GpuRecord, NodeRecord, ReportRecord};
use crate::table::Table;
use crate::width::plain;

/// Everything about a node.
pub(super) fn status_text(node: &NodeRecord) -> String {
    let mut table = Table::default();
    table.row(["state", &node.standing()]);
    table.row(["heard of", &or_none(node.heard.map(moment))]);
    let Some(report) = &node.report else {
        let text = format!("{}\n{}", plain(&node.name), table.text("  "));
        return text
            + "  it has never come: 'vfioctl node invite' makes a token for it to join with\n";
    };
    room_rows(&mut table, node, report);
    for (name, capability) in [
        ("containers", &report.containers),
        ("machines", &report.machines),
    ] {
        table.row([name, &capability_text(capability)]);
    }
    table.row(["a machine gets", &default_machine(report)]);
    version_rows(&mut table, report);
    let mut text = format!("{}\n{}", plain(&node.name), table.text("  "));
    text.push_str(&numa_text(report));
    text.push_str(&images_text(report));
    if !node.gpus.is_empty() {
        text.push_str(&format!("\nGPUs\n{}", fares_text(&node.gpus, "  ")));
        node.gpus
            .iter()
            .for_each(|gpu| text.push_str(&gpu_text(gpu)));
    }
    let tasks = node
        .tasks
        .iter()
        .map(|task| format!("vfioctl task show {task}"));
    text.push_str(&section("tasks", tasks));
    text.push_str(&section("problems", node.problems().into_iter()));
    text
}

fn room_rows(table: &mut Table, node: &NodeRecord, report: &ReportRecord) {
    let fares = node.telemetry.as_ref();
    let busy = fares.map(|fares| format!(", {}% busy", fares.processor_percent));
    table.row(["address", &report.address]);
    let cores = format!(
        "{} of {} taken{}",
        node.cores_taken,
        report.cores,
        busy.unwrap_or_default()
    );
    table.row(["cores", &cores]);
    let used = fares.map(|fares| format!(", {} in use", about(fares.memory_used_mib)));
    let memory = format!(
        "{} of {} taken{}",
        mib(node.memory_taken_mib),
        mib(report.memory_mib),
        used.unwrap_or_default()
    );
    table.row(["memory", &memory]);
    if let Some(fares) = fares {
        table.row(["disk", &format!("{} free", about(fares.disk_free_mib))]);
    }
}

fn version_rows(table: &mut Table, report: &ReportRecord) {
    let versions = &report.versions;
    let engine = versions.engine.as_ref().map(|engine| {
        let nvidia = engine
            .nvidia
            .as_ref()
            .map(|how| format!(", GPUs of NVIDIA by {how}"));
        format!(
            "{} {}{}",
            engine.name,
            engine.version,
            nvidia.unwrap_or_default()
        )
    });
    let rows = [
        ("runner", Some(versions.runner.clone())),
        ("helper", versions.helper.clone()),
        ("system", Some(versions.system.clone())),
        ("kernel", Some(versions.kernel.clone())),
        ("QEMU", versions.qemu.clone()),
        ("engine", engine),
        ("NVIDIA driver", versions.nvidia.clone()),
    ];
    for (name, version) in rows {
        table.row([name, version.as_deref().unwrap_or("none")]);
    }
    table.row(["machine", &report.machine]);
    table.row(["boot", &report.boot]);
}

fn capability_text(capability: &CapabilityRecord) -> String {
    match (capability.available, &capability.reason) {
        (true, _) => "yes".to_owned(),
        (false, Some(reason)) => format!("no: {reason}"),
        (false, None) => "no".to_owned(),
    }
}

fn numa_text(report: &ReportRecord) -> String {
    if report.numa.is_empty() {
        return String::new();
    }
    let mut table = Table::titled(&["NUMA", "CORES", "PROCESSORS", "MEMORY"]);
    for numa in &report.numa {
        let [number, cores] = [numa.number.to_string(), numa.cores.to_string()];
        table.row([number, cores, numa.processors.clone(), mib(numa.memory_mib)]);
    }
    format!("\nNUMA nodes\n{}", table.text("  "))
}

fn images_text(report: &ReportRecord) -> String {
    if report.images.is_empty() {
        return String::new();
    }
    let mut table = Table::titled(&["IMAGE", "DISK", "TAKES"]);
    for image in &report.images {
        let takes = mib(image.bytes.div_ceil(1 << 20));
        table.row([image.name.clone(), size_text(image.virtual_bytes), takes]);
    }
    format!("\nimages for machines\n{}", table.text("  "))
}

/// What a machine gets where nothing is said.
fn default_machine(report: &ReportRecord) -> String {
    let memory = mib(report.default_machine_memory_mib);
    let Some(name) = &report.default_image else {
        return format!("no image, {memory} of memory");
    };
    match report.images.iter().any(|image| image.name == *name) {
        true => format!("{name}, {memory} of memory"),
        false => format!("{name}, which is not there, {memory} of memory"),
    }
}

/// What does not stand in the table of GPUs.
fn gpu_text(gpu: &GpuRecord) -> String {
    let mut table = Table::default();
    table.row(["place", &format!("{}, {}", gpu.address, gpu.path)]);
    table.row(["ID", &gpu.id]);
    if let Some(uuid) = &gpu.uuid {
        table.row(["UUID", uuid]);
    }
    table.row(["driver", gpu.driver.as_deref().unwrap_or("none")]);
    if let Some(numa) = gpu.numa {
        table.row(["NUMA node", &numa.to_string()]);
    }
    let group = gpu.iommu_group.map(|group| group.to_string());
    table.row(["IOMMU group", group.as_deref().unwrap_or("none")]);
    table.row([
        "functions",
        &or_none(Some(gpu.functions.join(" ")).filter(|text| !text.is_empty())),
    ]);
    if !gpu.together.is_empty() {
        let together: Vec<String> = gpu
            .together
            .iter()
            .map(|number| format!("GPU {number}"))
            .collect();
        table.row([
            "together with",
            &format!("{}: in a machine they go together", together.join(", ")),
        ]);
    }
    table.row(["for machines", &capability_text(&gpu.machines)]);
    table.row(["for containers", &capability_text(&gpu.containers)]);
    for using in &gpu.uses {
        let what = if using.machine {
            "machine"
        } else {
            "container"
        };
        let alone = if using.exclusive {
            ", for it alone"
        } else {
            ""
        };
        let with = using
            .reserved_with
            .map(|number| format!(", which has GPU {number}"));
        let line = format!(
            "{what} {} of {}{alone}{}",
            using.task,
            using.owner,
            with.unwrap_or_default()
        );
        table.row([
            if using.reserved_with.is_some() {
                "reserved for"
            } else {
                "used by"
            },
            &line,
        ]);
    }
    for holder in &gpu.holders {
        let alone = if holder.exclusive {
            ", for it alone"
        } else {
            ""
        };
        table.row(["held on the node by", &format!("{}{alone}", holder.text)]);
    }
    format!(
        "\nGPU {}  {}\n{}",
        gpu.number,
        plain(&gpu.name),
        table.text("  ")
    )
}
