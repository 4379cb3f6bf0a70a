//! Whether an engine made what it was told to make.
//!
//! Podman's Docker API leaves out requests for devices without a word, and what an engine does not know
//! it may leave out too. So what it says it has made is held against what was asked for, before the
//! container is started: nothing ever runs without its GPUs.

use bollard::models::ContainerInspectResponse;

use super::recipe::Recipe;

/// What was asked for and is not there, as a sentence; none: it is all there.
pub(super) fn find_missing(recipe: &Recipe, made: &ContainerInspectResponse) -> Option<String> {
    let host = made.host_config.clone().unwrap_or_default();
    let devices = host.devices.unwrap_or_default();
    for node in &recipe.gpus.nodes {
        let is_there = devices.iter().any(|device| {
            device.path_on_host.as_deref() == Some(node)
                && device.path_in_container.as_deref() == Some(node)
        });
        if !is_there {
            return Some(format!("the device node '{node}'"));
        }
    }
    let requests = host.device_requests.unwrap_or_default();
    for asked in recipe.gpus.device_requests() {
        let is_there = requests.iter().any(|made| {
            made.driver == asked.driver
                && made.device_ids == asked.device_ids
                && (asked.capabilities.is_none() || made.capabilities == asked.capabilities)
        });
        if !is_there {
            return Some(format!(
                "the request for {}",
                asked.device_ids.unwrap_or_default().join(", ")
            ));
        }
    }
    find_missing_rest(recipe, made)
}

/// The same for what Podman was told in its own words, of which it shows no CDI devices again; those it
/// resolves when the container starts, or it does not start.
pub(super) fn find_missing_in_libpod(
    recipe: &Recipe,
    made: &ContainerInspectResponse,
) -> Option<String> {
    let mut plain = recipe.clone();
    plain.gpus.cdi.clear();
    find_missing(&plain, made)
}

fn find_missing_rest(recipe: &Recipe, made: &ContainerInspectResponse) -> Option<String> {
    let variables = made
        .config
        .as_ref()
        .and_then(|config| config.env.clone())
        .unwrap_or_default();
    let missing = recipe
        .variables()
        .into_iter()
        .find(|variable| !variables.contains(variable));
    if let Some(variable) = missing {
        let name = variable.split('=').next().unwrap_or_default();
        return Some(format!("the variable '{name}'"));
    }
    let mounts = made.mounts.clone().unwrap_or_default();
    let missing = recipe.mounts.iter().find(|mount| {
        !mounts.iter().any(|made| {
            made.source.as_deref() == Some(&mount.source)
                && made.destination.as_deref() == Some(&mount.target)
                && made.rw == Some(!mount.is_read_only)
        })
    });
    if let Some(mount) = missing {
        return Some(format!(
            "the mount '{}' on '{}'",
            mount.source, mount.target
        ));
    }
    let limit = made.host_config.as_ref().and_then(|host| host.memory);
    (recipe.memory_bytes.is_some() && limit != recipe.memory_bytes)
        .then(|| "the limit of its memory".into())
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, DeviceRequest, MountPoint};

    use super::*;
    use crate::container::recipe::{BindMount, GpuParts};

    fn recipe() -> Recipe {
        Recipe {
            environment: vec!["A=1".into()],
            mounts: vec![BindMount {
                source: "/a".into(),
                target: "/b".into(),
                is_read_only: false,
            }],
            gpus: GpuParts {
                nodes: vec!["/dev/x".into()],
                uuids: vec!["GPU-1".into()],
                cdi: vec!["nvidia.com/gpu=1".into()],
                ..GpuParts::default()
            },
            memory_bytes: Some(1 << 24),
            ..Recipe::default()
        }
    }

    fn made() -> ContainerInspectResponse {
        let body = recipe().to_docker();
        ContainerInspectResponse {
            host_config: body.host_config,
            config: Some(ContainerConfig {
                env: body.env,
                ..ContainerConfig::default()
            }),
            mounts: Some(vec![MountPoint {
                source: Some("/a".into()),
                destination: Some("/b".into()),
                rw: Some(true),
                ..MountPoint::default()
            }]),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn what_was_made_as_asked_lacks_nothing() {
        assert_eq!(find_missing(&recipe(), &made()), None);
        assert_eq!(
            find_missing(&Recipe::default(), &ContainerInspectResponse::default()),
            None
        );
    }

    #[test]
    fn everything_that_an_engine_leaves_out_is_missed() {
        let without = |change: fn(&mut ContainerInspectResponse)| {
            let mut made = made();
            change(&mut made);
            find_missing(&recipe(), &made).unwrap_or_default()
        };
        fn host(made: &mut ContainerInspectResponse) -> &mut bollard::models::HostConfig {
            made.host_config.as_mut().unwrap()
        }
        assert_eq!(
            without(|made| host(made).devices = None),
            "the device node '/dev/x'"
        );
        assert_eq!(
            without(|made| host(made).device_requests = Some(Vec::new())),
            "the request for GPU-1"
        );
        let other = |made: &mut ContainerInspectResponse| {
            let requests: &mut Vec<DeviceRequest> = host(made).device_requests.as_mut().unwrap();
            requests.pop();
        };
        assert_eq!(without(other), "the request for nvidia.com/gpu=1");
        assert_eq!(without(|made| made.config = None), "the variable 'A'");
        assert_eq!(without(|made| made.mounts = None), "the mount '/a' on '/b'");
        assert_eq!(
            without(|made| host(made).memory = None),
            "the limit of its memory"
        );
        assert_eq!(
            without(|made| made.host_config = None),
            "the device node '/dev/x'"
        );
    }
}
