//! A cluster for tests: nodes, GPUs and tasks as a host tells them.

use serde_json::{Value, json};
use vfioctl_api::{AuditLine, NodeView, Task, User};

/// 2026-11-22 13:41:05 UTC, in milliseconds.
const NOON: u64 = 1_795_354_865_000;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A moment so many seconds after the sample's first.
fn after(seconds: u64) -> u64 {
    NOON + 1000 * seconds
}

/// A task with a command, as it is on the wire; in another state on request.
pub(crate) fn task_json(state: &str) -> Value {
    let mut task = json!({
        "id": "01jd3k7x9qz4m", "owner": "ann", "state": state, "node": "gpu-1", "gpus": [0, 1],
        "run": 1, "submitted": NOON, "assigned": after(1), "started": after(4),
        "submission": {
            "kind": "command", "name": "training", "target": "gpu-1:0::0,1", "cores": 8,
            "memory": 32768,
            "backend": {"container": {
                "command": ["python", "train.py", "--name", "my run"],
                "image": "registry.example/pytorch:2.5", "mounts": ["/data:/data:ro"],
                "environment": {"EPOCHS": "3", "API_TOKEN": "hidden"}, "working_folder": "/work",
            }},
        },
    });
    if ["completed", "failed", "killed", "out_of_memory"].contains(&state) {
        task["ended"] = after(1306).into();
    }
    match state {
        "completed" => task["exit"] = json!({"status": 0}),
        "failed" => task["exit"] = json!({"status": 3}),
        _ => {}
    }
    task
}

/// A server in a machine, as it is on the wire.
pub(crate) fn vps_json(state: &str) -> Value {
    json!({
        "id": "01jd3k8000abc", "owner": "ann", "state": state, "node": "gpu-1", "gpus": [2],
        "run": 2, "submitted": after(535), "assigned": after(535), "started": after(575),
        "submission": {
            "kind": "vps", "name": "desk", "target": "gpu-1::2", "cores": 8, "memory": 16384,
            "backend": {"machine": {"image": "debian-12", "disk_gib": 100}},
            "ssh": {"keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ ann@home"]},
        },
    })
}

/// How that server is reached.
pub(crate) fn ssh_json() -> Value {
    json!({
        "address": "10.0.0.5", "port": 20022, "user": "debian",
        "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB3Kd",
    })
}

/// A task that failed.
pub(crate) fn training() -> Task {
    read(task_json("failed"))
}

/// A task that waits.
pub(crate) fn queued() -> Task {
    read(json!({
        "id": "01jd3k9fffff0", "owner": "bob", "state": "queued", "submitted": after(1735),
        "reason": "no node has 2 free GPUs like '4090'",
        "submission": {
            "kind": "command", "backend": {"container": {"command": ["nvidia-smi"]}},
            "gpus": {"count": 2, "model": "4090", "memory_min": 20480},
        },
    }))
}

/// A server in a machine that runs.
pub(crate) fn machine_vps() -> Task {
    let mut vps = vps_json("running");
    vps["ssh"] = ssh_json();
    read(vps)
}

/// A server in a container that starts.
pub(crate) fn container_vps() -> Task {
    read(json!({
        "id": "01jd3k80zzzzz", "owner": "bob", "state": "starting", "submitted": after(540),
        "node": "gpu-2", "gpus": [0], "progress": "fetching the image",
        "submission": {"kind": "vps", "backend": {"container": {}}, "target": "gpu-2::0"},
    }))
}

fn gpu(number: u16, name: &str, memory: Option<u64>) -> Value {
    let slot = number + 1;
    json!({
        "node": "gpu-1", "number": number, "present": true,
        "address": format!("0000:{slot:02x}:00.0"), "path": format!("pci0000:00/{slot:02x}.0/00.0"),
        "vendor": "nvidia", "id": "10de:2684", "name": name, "memory_mib": memory,
        "driver": "nvidia", "numa": 0, "iommu_group": 12 + number,
        "functions": [format!("0000:{slot:02x}:00.0"), format!("0000:{slot:02x}:00.1")],
        "vfio": {"available": true}, "containers": {"available": true},
    })
}

fn with(mut value: Value, changes: Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        value[name] = change.clone();
    }
    value
}

/// A node with GPUs in every state, as it is on the wire.
pub(crate) fn gpu_node_json() -> Value {
    let no = |reason: &str| json!({"available": false, "reason": reason});
    let gpus = json!([
        with(
            gpu(0, "NVIDIA GeForce RTX 4090", Some(24576)),
            json!({
                "uuid": "GPU-5d1ab1ee-0001",
                "telemetry": {"number": 0, "utilisation_percent": 87, "memory_used_mib": 20100,
                    "temperature_c": 71, "power_w": 312, "power_limit_w": 450},
                "holders": [{"kind": "container", "name": "vfioctl-01jd3k7x9qz4m", "user": "ann", "exclusive": false}],
                "uses": [
                    {"task": "01jd3k7x9qz4m", "owner": "ann", "machine": false, "exclusive": false},
                    {"task": "01jd3k7y00000", "owner": "bob", "machine": false, "exclusive": false},
                ],
            })
        ),
        with(
            gpu(1, "NVIDIA GeForce RTX 4090", Some(24576)),
            json!({
                "together": [2],
                "uses": [{"task": "01jd3k8000abc", "owner": "ann", "machine": true, "exclusive": true, "reserved_with": 2}],
            })
        ),
        with(
            gpu(
                2,
                "AMD/ATI Navi 31 [Radeon RX 7900 XT/7900 XTX/7900M]",
                Some(24576)
            ),
            json!({
                "vendor": "amd", "id": "1002:744c", "driver": "vfio-pci", "together": [1],
                "uses": [{"task": "01jd3k8000abc", "owner": "ann", "machine": true, "exclusive": true}],
            })
        ),
        with(
            gpu(3, "NVIDIA RTX A4000", Some(16384)),
            json!({
                "holders": [{"kind": "person", "name": "carl", "exclusive": true}],
            })
        ),
        with(
            gpu(4, "ASPEED Graphics Family", None),
            json!({
                "vendor": "other", "driver": "ast",
                "vfio": no("the host's console is on it"),
                "containers": no("it has no driver that containers can use"),
            })
        ),
        with(
            gpu(5, "Intel Arc A380", None),
            json!({
                "vendor": "intel", "driver": "i915", "iommu_group": null,
                "vfio": no("it is in no IOMMU group: the IOMMU is off"),
            })
        ),
        gpu(6, "NVIDIA GeForce RTX 3090", Some(24576)),
        with(
            gpu(7, "NVIDIA GeForce RTX 3090", None),
            json!({"present": false, "driver": null})
        ),
    ]);
    json!({
        "name": "gpu-1", "state": "online", "drained": false, "heard": after(1800),
        "cores_taken": 16, "memory_taken": 49152,
        "tasks": ["01jd3k7x9qz4m", "01jd3k8000abc"], "gpus": gpus,
        "telemetry": {"at": after(1799), "processor_percent": 41, "memory_used_mib": 60200, "disk_free_mib": 819_200},
        "report": {
            "machine": "9f2ac0ffee", "boot": "1b6d-4a01", "address": "10.0.0.5", "cores": 64, "memory": 262_144,
            "versions": {"runner": "0.1.0", "helper": "0.1.0", "kernel": "6.1.0-32-amd64",
                "system": "Debian GNU/Linux 12 (bookworm)", "qemu": "7.2.13",
                "engine": {"name": "docker", "version": "20.10.24", "nvidia": "cdi"}, "nvidia": "550.163.01"},
            "numa": [
                {"number": 0, "processors": "0-31", "cores": 32, "memory": 131_072},
                {"number": 1, "processors": "32-63", "cores": 32, "memory": 131_072},
            ],
            "containers": {"available": true}, "machines": {"available": true},
            "images": [{"name": "debian-12", "virtual_bytes": 10_737_418_240_u64, "bytes": 1_288_490_188}],
            "default_image": "debian-12", "default_machine_memory": 4096,
            "problems": ["GPU 5 cannot be given to machines: switch the IOMMU on in the firmware"],
        },
    })
}

/// A node with GPUs in every state.
pub(crate) fn gpu_node() -> NodeView {
    read(gpu_node_json())
}

/// A node that is away, with a task of which nobody knows whether it still runs.
pub(crate) fn offline_node() -> NodeView {
    let mut node = gpu_node_json();
    node["name"] = "gpu-2".into();
    node["state"] = "offline".into();
    node["cores_taken"] = 1.into();
    node["memory_taken"] = 0.into();
    node["tasks"] = json!(["01jd3k80zzzzz"]);
    node["telemetry"] = Value::Null;
    node["gpus"] = json!([
        with(
            gpu(0, "NVIDIA GeForce RTX 3090", Some(24576)),
            json!({
                "node": "gpu-2",
                "uses": [{"task": "01jd3k80zzzzz", "owner": "bob", "machine": false, "exclusive": true}],
            })
        ),
        with(
            gpu(1, "NVIDIA GeForce RTX 3090", Some(24576)),
            json!({"node": "gpu-2"})
        ),
    ]);
    let report = &mut node["report"];
    report["machines"] = json!({"available": false, "reason": "the helper does not answer"});
    report["problems"] = json!([]);
    report["images"] = json!([]);
    report["numa"] = json!([]);
    read(node)
}

/// A node that may join and has not.
pub(crate) fn expected_node() -> NodeView {
    read(json!({
        "name": "gpu-3", "state": "expected", "drained": true, "cores_taken": 0, "memory_taken": 0,
    }))
}

/// Users, one of them with tokens.
pub(crate) fn users() -> Vec<User> {
    let hour = NOON - 2_465_000;
    read(json!([
        {"name": "ann", "role": "admin", "created": hour, "tokens": [
            {"id": "0a1b2c3d4e5f", "created": hour},
            {"id": "5f4e3d2c1b0a", "created": hour + 3_600_000, "note": "laptop",
                "expires": hour + 3_600_000 + 30 * 86_400_000_u64},
        ]},
        {"name": "bob", "role": "user", "created": hour + 1_800_000},
    ]))
}

/// What was done, and what was not let be done.
pub(crate) fn audit_lines() -> Vec<AuditLine> {
    read(json!([
        {"at": NOON, "who": "ann", "from": "10.0.0.9", "verb": "POST /v1/tasks", "outcome": "done"},
        {"at": after(2), "who": "bob", "from": "10.0.0.9", "verb": "POST /v1/tasks/{task}/kill",
            "object": "01jd3k7x9qz4m", "outcome": "forbidden"},
        {"at": after(4), "who": "node gpu-1", "from": "10.0.0.5", "verb": "POST /v1/runner/register", "outcome": "done"},
    ]))
}
