//! A recipe: all that an engine is told about a container, and in which words each engine is told.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, Mount,
    MountType, RestartPolicy, RestartPolicyNameEnum,
};
use serde_json::{Value, json};

use crate::limits::{ENGINE_LOG, MAX_PIDS, SHARED_MEMORY_BYTES};

/// All that an engine is told about a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Recipe {
    pub(super) name: String,
    pub(super) hostname: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) image: String,
    /// Instead of the image's own.
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<String>,
    pub(super) working_folder: Option<String>,
    pub(super) mounts: Vec<BindMount>,
    pub(super) gpus: GpuParts,
    pub(super) cores: u32,
    /// Processors and memory of a NUMA node.
    pub(super) numa: Option<(String, u32)>,
    pub(super) memory_bytes: Option<i64>,
    pub(super) is_privileged: bool,
    pub(super) network: String,
    pub(super) has_init: bool,
}

/// A folder of the node in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BindMount {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) is_read_only: bool,
}

/// How GPUs get into a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct GpuParts {
    /// Device nodes, each at its place on the host.
    pub(super) nodes: Vec<String>,
    /// Groups that may use the nodes.
    pub(super) groups: Vec<u32>,
    /// Variables.
    pub(super) environment: Vec<String>,
    /// UUIDs for NVIDIA's runtime.
    pub(super) uuids: Vec<String>,
    /// Names of CDI, which the engine resolves.
    pub(super) cdi: Vec<String>,
}

impl GpuParts {
    /// The requests that Docker is told, in which it never leaves anything out.
    pub(super) fn device_requests(&self) -> Vec<DeviceRequest> {
        let request = |driver: &str, ids: &[String], capabilities: &[&str]| DeviceRequest {
            driver: Some(driver.into()),
            count: Some(0),
            device_ids: Some(ids.to_vec()),
            capabilities: Some(vec![
                capabilities.iter().map(|one| (*one).to_owned()).collect(),
            ]),
            options: None,
        };
        let mut requests = Vec::new();
        if !self.uuids.is_empty() {
            requests.push(request(
                "nvidia",
                &self.uuids,
                &["gpu", "utility", "compute"],
            ));
        }
        if !self.cdi.is_empty() {
            requests.push(DeviceRequest {
                capabilities: None,
                ..request("cdi", &self.cdi, &[])
            });
        }
        requests
    }
}

const NANO: i64 = 1_000_000_000;

impl Recipe {
    /// All variables.
    pub(super) fn variables(&self) -> Vec<String> {
        self.environment
            .iter()
            .chain(&self.gpus.environment)
            .cloned()
            .collect()
    }

    fn shared_memory_bytes(&self) -> i64 {
        self.memory_bytes
            .map_or(SHARED_MEMORY_BYTES, |bytes| bytes / 2)
    }

    fn groups(&self) -> Vec<String> {
        self.gpus.groups.iter().map(ToString::to_string).collect()
    }

    /// In Docker's words.
    pub(super) fn to_docker(&self) -> ContainerCreateBody {
        let devices = self.gpus.nodes.iter().map(|node| DeviceMapping {
            path_on_host: Some(node.clone()),
            path_in_container: Some(node.clone()),
            cgroup_permissions: Some("rw".into()),
        });
        let mounts = self.mounts.iter().map(|mount| Mount {
            target: Some(mount.target.clone()),
            source: Some(mount.source.clone()),
            typ: Some(MountType::BIND),
            read_only: Some(mount.is_read_only),
            ..Mount::default()
        });
        let (max_size, max_file) = ENGINE_LOG;
        let log = [("max-size", max_size), ("max-file", max_file)];
        let host_config = HostConfig {
            devices: Some(devices.collect()),
            device_requests: Some(self.gpus.device_requests()),
            group_add: Some(self.groups()),
            mounts: Some(mounts.collect()),
            nano_cpus: Some(i64::from(self.cores).saturating_mul(NANO)),
            cpuset_cpus: self.numa.as_ref().map(|(processors, _)| processors.clone()),
            cpuset_mems: self.numa.as_ref().map(|(_, node)| node.to_string()),
            memory: self.memory_bytes,
            memory_swap: self.memory_bytes,
            shm_size: Some(self.shared_memory_bytes()),
            pids_limit: Some(MAX_PIDS),
            privileged: Some(self.is_privileged),
            security_opt: Some(vec!["no-new-privileges".into()]),
            init: Some(self.has_init),
            network_mode: Some(self.network.clone()),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".into()),
                config: Some(
                    log.map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .into(),
                ),
            }),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            auto_remove: Some(false),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            // A container in the node's own network has the node's name.
            hostname: (self.network != "host").then(|| self.hostname.clone()),
            env: Some(self.variables()),
            cmd: Some(self.command.clone()),
            entrypoint: self.entrypoint.clone(),
            image: Some(self.image.clone()),
            working_dir: self.working_folder.clone(),
            labels: Some(self.labels.clone().into_iter().collect::<HashMap<_, _>>()),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        }
    }

    /// In the words of Podman's own API (`POST /libpod/containers/create`, `SpecGenerator`), which can be
    /// told of CDI devices.
    pub(super) fn to_libpod(&self) -> Value {
        let mounts = self.mounts.iter().map(|mount| {
            let access = if mount.is_read_only { "ro" } else { "rw" };
            json!({"destination": mount.target, "source": mount.source, "type": "bind", "options": ["rbind", access]})
        });
        let nodes = self.gpus.nodes.iter().map(|node| json!({"path": node}));
        let cdi = self.gpus.cdi.iter().map(|name| json!({"path": name}));
        let variables: BTreeMap<String, String> = self
            .variables()
            .iter()
            .filter_map(|text| text.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        const PERIOD: i64 = 100_000;
        let mut limits = json!({
            "cpu": {"period": PERIOD, "quota": PERIOD.saturating_mul(i64::from(self.cores))},
            "pids": {"limit": MAX_PIDS},
        });
        if let (Some(object), Some(bytes)) = (limits.as_object_mut(), self.memory_bytes) {
            object.insert("memory".into(), json!({"limit": bytes, "swap": bytes}));
        }
        if let (Some(cpu), Some((processors, node))) = (
            limits.get_mut("cpu").and_then(Value::as_object_mut),
            &self.numa,
        ) {
            cpu.insert("cpus".into(), json!(processors));
            cpu.insert("mems".into(), json!(node.to_string()));
        }
        let mut spec = json!({
            "name": self.name,
            "labels": self.labels,
            "image": self.image,
            "command": self.command,
            "env": variables,
            "mounts": mounts.collect::<Vec<_>>(),
            "devices": nodes.chain(cdi).collect::<Vec<_>>(),
            "groups": self.groups(),
            "resource_limits": limits,
            "shm_size": self.shared_memory_bytes(),
            "privileged": self.is_privileged,
            "no_new_privileges": true,
            "init": self.has_init,
            "netns": netns(&self.network),
            "log_configuration": {"driver": "k8s-file", "size": 640_i64 << 20},
            "restart_policy": "no",
        });
        if let Some(object) = spec.as_object_mut() {
            if self.network != "host" {
                object.insert("hostname".into(), json!(self.hostname));
            }
            if let Some(entrypoint) = &self.entrypoint {
                object.insert("entrypoint".into(), json!(entrypoint));
            }
            if let Some(folder) = &self.working_folder {
                object.insert("work_dir".into(), json!(folder));
            }
            if !matches!(self.network.as_str(), "bridge" | "host" | "none") {
                object.insert("networks".into(), json!({ &self.network: {} }));
            }
        }
        spec
    }
}

fn netns(network: &str) -> Value {
    match network {
        "host" | "none" => json!({"nsmode": network}),
        _ => json!({"nsmode": "bridge"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            name: "vfioctl-a-1".into(),
            image: "i".into(),
            command: vec!["true".into()],
            environment: vec!["A=1=2".into()],
            mounts: vec![BindMount {
                source: "/d".into(),
                target: "/e".into(),
                is_read_only: true,
            }],
            gpus: GpuParts {
                nodes: vec!["/dev/dri/renderD128".into()],
                groups: vec![105],
                uuids: vec!["GPU-1".into()],
                cdi: vec!["nvidia.com/gpu=GPU-2".into()],
                environment: vec!["B=2".into()],
            },
            cores: 2,
            numa: Some(("0-3".into(), 1)),
            memory_bytes: Some(64 << 20),
            network: "none".into(),
            has_init: true,
            ..Recipe::default()
        }
    }

    #[test]
    fn docker_is_told_everything() {
        let body = serde_json::to_value(recipe().to_docker()).unwrap();
        let host = &body["HostConfig"];
        assert_eq!(body["Env"], json!(["A=1=2", "B=2"]));
        assert_eq!(host["NanoCpus"], 2_000_000_000_i64);
        assert_eq!([&host["Memory"], &host["MemorySwap"]], [64 << 20, 64 << 20]);
        assert_eq!([&host["CpusetCpus"], &host["CpusetMems"]], ["0-3", "1"]);
        let requests = json!([
            {"Driver": "nvidia", "Count": 0, "DeviceIDs": ["GPU-1"], "Capabilities": [["gpu", "utility", "compute"]]},
            {"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=GPU-2"]},
        ]);
        assert_eq!(host["DeviceRequests"], requests);
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        assert_eq!(host["LogConfig"]["Type"], "json-file");
        assert_eq!(host["GroupAdd"], json!(["105"]));
    }

    #[test]
    fn podman_is_told_the_same() {
        let spec = recipe().to_libpod();
        assert_eq!(spec["env"], json!({"A": "1=2", "B": "2"}));
        assert_eq!(
            spec["devices"],
            json!([{"path": "/dev/dri/renderD128"}, {"path": "nvidia.com/gpu=GPU-2"}])
        );
        assert_eq!(
            spec["resource_limits"]["memory"],
            json!({"limit": 64 << 20, "swap": 64 << 20})
        );
        let cpu = json!({"period": 100_000, "quota": 200_000, "cpus": "0-3", "mems": "1"});
        assert_eq!(spec["resource_limits"]["cpu"], cpu);
        assert_eq!(spec["netns"], json!({"nsmode": "none"}));
        assert_eq!(spec["no_new_privileges"], true);
        assert_eq!(spec["mounts"][0]["options"], json!(["rbind", "ro"]));
    }
}
