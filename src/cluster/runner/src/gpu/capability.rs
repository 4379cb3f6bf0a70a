//! Whether a GPU can be given to a machine or to containers, and where not, why: by the plans that the
//! helper makes of the same machine, in the helper's own words.

use vfioctl_api::{Capability, Vendor};
use vfioctl_core::iommu::GroupIndex;
use vfioctl_core::pci::{DriverName, Identity, PciFunction};
use vfioctl_core::plan::{Refusal, plan_bind_by, plan_container};

use super::seen::Seen;
use super::told::Told;

/// Whether a GPU can be given to a machine.
pub(super) fn find_vfio(seen: &Seen, index: &GroupIndex, gpu: &PciFunction) -> Capability {
    if let Err(because) = &seen.claims {
        return Capability::no(because);
    }
    let claims = seen.known_claims().map(|seen| &seen.claim);
    match plan_bind_by(&seen.snapshot, index, claims, gpu.address) {
        Ok(_) => Capability::yes(),
        Err(refusal) => Capability::no(sentence(seen, &refusal)),
    }
}

/// Whether containers can have a GPU: its own driver has it, its nodes are there, and nobody has it
/// for himself. That is not hindered by others who share it.
pub(super) fn find_containers(seen: &Seen, gpu: &PciFunction, told: &Told) -> Capability {
    let claims = seen.known_claims().map(|seen| &seen.claim);
    if let Err(refusal) = plan_container(&seen.snapshot, claims, &[gpu.address], false) {
        return Capability::no(sentence(seen, &refusal));
    }
    // There is a driver, or the plan would have been refused.
    let driver = gpu.driver.as_ref().map_or("", DriverName::as_str);
    let nodes = &told.nodes;
    let has_node = match find_vendor(gpu.identity) {
        // Only a driver that stands for nobody keeps its device free for VFIO beside that.
        _ if driver == "pci-stub" => {
            return Capability::no("pci-stub has it, which keeps it for nobody");
        }
        Vendor::Nvidia if driver != "nvidia" => {
            return Capability::no(format!(
                "{driver} has it, and containers need NVIDIA's own driver"
            ));
        }
        Vendor::Nvidia => nodes.nvidia.is_some(),
        Vendor::Amd | Vendor::Intel | Vendor::Other => {
            nodes.render.is_some() || nodes.card.is_some()
        }
    };
    match &told.missing_node {
        _ if has_node => Capability::yes(),
        Some(path) => Capability::no(format!(
            "{driver} has it, and its device node '{}' is missing",
            path.display()
        )),
        None => Capability::no(format!("{driver} has it and has made no device node")),
    }
}

/// Who makes a GPU.
pub(super) fn find_vendor(identity: Identity) -> Vendor {
    match identity.vendor {
        0x10de => Vendor::Nvidia,
        0x1002 => Vendor::Amd,
        0x8086 => Vendor::Intel,
        _ => Vendor::Other,
    }
}

fn sentence(seen: &Seen, refusal: &Refusal) -> String {
    match refusal.owner() {
        Some(owner) => refusal.sentence_calling(&seen.describe_owner(owner)),
        None => refusal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use vfioctl_core::claim::{Container, Purpose};

    use super::*;
    use crate::gpu::sample::{at, bridge, claim, function, machine};
    use crate::gpu::seen::SeenClaim;
    use crate::node::DeviceNodes;

    const GPU: &str = "01:00.0";
    const MATE: &str = "02:00.0";

    /// Two cards that share a group, one that no IOMMU covers.
    fn seen(claims: Result<Vec<(Purpose, &[&str])>, String>) -> Seen {
        let card = |address: &str| function(address, 0x03_0000).below("00:01.0");
        let snapshot = machine([
            bridge("00:01.0").group(1),
            card(GPU).group(1).driver("nvidia"),
            card(MATE).group(1).driver("nvidia"),
            card("03:00.0").driver("nouveau"),
            card("04:00.0").group(4).driver("vfio-pci"),
            card("05:00.0").group(5),
            card("06:00.0").group(6).driver("pci-stub"),
            card("07:00.0").group(7).driver("amdgpu").vendor(0x1002),
        ]);
        let claims = claims.map(|claims| {
            let claims = claims.into_iter().map(|(purpose, addresses)| SeenClaim {
                claim: claim(&snapshot, purpose, addresses),
                user: Some("bob".into()),
            });
            claims.collect()
        });
        Seen { snapshot, claims }
    }

    fn machine_win() -> Purpose {
        Purpose::Machine("win".parse().unwrap())
    }

    fn container(exclusive: bool) -> Purpose {
        Purpose::Container(Container {
            name: "train".parse().unwrap(),
            exclusive,
            user: "ann".parse().ok(),
        })
    }

    fn vfio(seen: &Seen, address: &str) -> Option<String> {
        let gpu = seen.snapshot.function(at(address)).unwrap();
        let found = find_vfio(seen, &GroupIndex::of(&seen.snapshot), gpu);
        assert_eq!(found.available, found.reason.is_none());
        found.reason
    }

    fn containers(seen: &Seen, address: &str, told: &Told) -> Option<String> {
        let gpu = seen.snapshot.function(at(address)).unwrap();
        let found = find_containers(seen, gpu, told);
        assert_eq!(found.available, found.reason.is_none());
        found.reason
    }

    fn with_node() -> Told {
        let node = || Some("/dev/x".into());
        Told {
            nodes: DeviceNodes {
                render: node(),
                nvidia: node(),
                ..DeviceNodes::default()
            },
            ..Told::default()
        }
    }

    #[test]
    fn machines_can_have_what_could_be_bound() {
        let free = seen(Ok(Vec::new()));
        assert_eq!(vfio(&free, GPU), None);
        assert_eq!(vfio(&free, "04:00.0"), None);
        assert_eq!(
            vfio(&free, "03:00.0").as_deref(),
            Some(
                "0000:03:00.0 is in no IOMMU group: without one nothing confines its DMA to a guest"
            )
        );
    }

    #[test]
    fn who_has_it_is_called_as_the_helper_calls_him() {
        let taken = seen(Ok(vec![(machine_win(), &[GPU, MATE])]));
        let text = "0000:01:00.0 belongs to machine 'win' of user 'bob'";
        assert_eq!(vfio(&taken, GPU).as_deref(), Some(text));
        assert_eq!(containers(&taken, GPU, &with_node()).as_deref(), Some(text));
    }

    #[test]
    fn a_container_keeps_its_group_mates_from_machines_and_from_no_container() {
        let used = seen(Ok(vec![(container(false), &[GPU])]));
        let text = "0000:02:00.0 cannot be taken alone: 0000:01:00.0 goes with it, and";
        let reason = vfio(&used, MATE).unwrap();
        assert!(
            reason.starts_with(text) && reason.contains("of user 'bob' for 'ann'"),
            "{reason}"
        );
        for address in [GPU, MATE] {
            assert_eq!(containers(&used, address, &with_node()), None);
        }
        let alone = seen(Ok(vec![(container(true), &[GPU])]));
        assert!(containers(&alone, GPU, &with_node()).is_some());
        assert_eq!(containers(&alone, MATE, &with_node()), None);
    }

    #[test]
    fn without_the_helper_nothing_goes_to_machines_and_the_reason_is_that() {
        let blind = seen(Err("the helper does not answer: nothing listens".into()));
        for address in [GPU, "03:00.0"] {
            assert_eq!(
                vfio(&blind, address).as_deref(),
                Some("the helper does not answer: nothing listens")
            );
        }
        assert_eq!(containers(&blind, GPU, &with_node()), None);
    }

    #[test]
    fn containers_need_the_own_driver_and_its_nodes() {
        let free = seen(Ok(Vec::new()));
        let reason = |address, told: &Told| containers(&free, address, told).unwrap_or_default();
        let missing = Told {
            missing_node: Some("/dev/nvidia0".into()),
            ..Told::default()
        };
        for (address, told, expected) in [
            (GPU, &with_node(), ""),
            ("07:00.0", &with_node(), ""),
            (
                "03:00.0",
                &with_node(),
                "nouveau has it, and containers need NVIDIA's own driver",
            ),
            (
                "04:00.0",
                &with_node(),
                "0000:04:00.0 is on vfio-pci, which is for virtual machines: no container can use it",
            ),
            (
                "05:00.0",
                &with_node(),
                "0000:05:00.0 has no driver: no container can use it",
            ),
            (
                "06:00.0",
                &with_node(),
                "pci-stub has it, which keeps it for nobody",
            ),
            (
                GPU,
                &missing,
                "nvidia has it, and its device node '/dev/nvidia0' is missing",
            ),
            (
                "07:00.0",
                &Told::default(),
                "amdgpu has it and has made no device node",
            ),
        ] {
            assert_eq!(reason(address, told), expected, "{address}");
        }
    }
}
