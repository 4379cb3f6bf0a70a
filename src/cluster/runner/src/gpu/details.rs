//! GPUs as the cluster is told of them: decided from what was seen, read and remembered.

use std::collections::{BTreeMap, BTreeSet};

use vfioctl_api::{Capability, Gpu, GpuNumber, Holder, HolderKind};
use vfioctl_core::Answer;
use vfioctl_core::claim::Purpose;
use vfioctl_core::iommu::GroupIndex;
use vfioctl_core::pci::{PciAddress, PciFunction, SriovRole};
use vfioctl_core::plan::find_groups;
use vfioctl_names::Names;

use super::capability::{find_containers, find_vendor, find_vfio};
use super::numbers::Known;
use super::seen::{Seen, SeenClaim};
use super::told::Told;
use crate::node::{DeviceNodes, GpuDetail};

/// A GPU that has a number, and what sits in its place now.
#[derive(Debug)]
pub(super) struct Numbered<'a> {
    /// What is known of it.
    pub(super) known: &'a Known,
    /// What sits there; none, where nothing does.
    pub(super) function: Option<&'a PciFunction>,
}

/// Describes all GPUs that have numbers. `told` is what their drivers tell of those that are there.
pub(super) fn describe(
    seen: &Seen,
    numbered: &[Numbered<'_>],
    told: &BTreeMap<PciAddress, Told>,
    names: &Names,
) -> Vec<GpuDetail> {
    let index = GroupIndex::of(&seen.snapshot);
    let taken: BTreeMap<GpuNumber, (PciAddress, BTreeSet<PciAddress>)> = numbered
        .iter()
        .filter_map(|gpu| {
            let function = gpu.function?;
            let taken = find_taken(seen, &index, function);
            Some((gpu.known.number, (function.address, taken)))
        })
        .collect();
    let describe_one = |gpu: &Numbered<'_>| {
        let Some(function) = gpu.function else {
            return describe_absent(gpu.known, names, "it is not in its place");
        };
        let nothing = Told::default();
        let told = told.get(&function.address).unwrap_or(&nothing);
        let functions = taken.get(&gpu.known.number).map(|(_, taken)| taken);
        let name = gpu.known.name.clone();
        GpuDetail {
            gpu: Gpu {
                present: true,
                uuid: told.uuid.clone(),
                driver: function.driver.as_ref().map(ToString::to_string),
                numa: function.numa_node,
                iommu_group: function.iommu_group.map(|group| group.0),
                functions: functions
                    .into_iter()
                    .flatten()
                    .map(ToString::to_string)
                    .collect(),
                together: find_together(gpu.known.number, &taken),
                vfio: find_vfio(seen, &index, function),
                containers: find_containers(seen, function, told),
                holders: find_holders(seen, function),
                name: name.unwrap_or_else(|| names.of(function.identity)),
                ..describe_absent(gpu.known, names, "").gpu
            },
            nodes: told.nodes.clone(),
        }
    };
    numbered.iter().map(describe_one).collect()
}

/// Describes a GPU of which nothing but its number is known now, for a reason.
pub(super) fn describe_absent(known: &Known, names: &Names, because: &str) -> GpuDetail {
    let name = known.name.clone();
    GpuDetail {
        gpu: Gpu {
            number: known.number,
            present: false,
            address: known.address.to_string(),
            path: known.path.to_string(),
            vendor: find_vendor(known.identity),
            id: known.identity.to_string(),
            name: name.unwrap_or_else(|| names.of(known.identity)),
            uuid: None,
            memory_mib: known.memory_mib,
            driver: None,
            numa: None,
            iommu_group: None,
            functions: Vec::new(),
            together: Vec::new(),
            vfio: Capability::no(because),
            containers: Capability::no(because),
            holders: Vec::new(),
        },
        nodes: DeviceNodes::default(),
    }
}

/// The functions that go into a machine with a GPU: those that a bind would take. Where it would be
/// refused for having no group, its slot.
fn find_taken(seen: &Seen, index: &GroupIndex, gpu: &PciFunction) -> BTreeSet<PciAddress> {
    let snapshot = &seen.snapshot;
    let stays = |function: &&PciFunction| {
        function.is_bridge() == Answer::Known(true) || function.class.is_platform()
    };
    match find_groups(snapshot, gpu.address) {
        Ok(groups) => groups
            .into_iter()
            .flat_map(|group| index.members(snapshot, group))
            .filter(|function| !stays(function))
            .map(|function| function.address)
            .collect(),
        Err(_) => slot(seen, gpu).map(|function| function.address).collect(),
    }
}

/// All functions of a GPU's card.
fn slot<'a>(seen: &'a Seen, gpu: &PciFunction) -> impl Iterator<Item = &'a PciFunction> {
    // Virtual functions share the slot number by arithmetic only.
    let is_own = |function: &&PciFunction| !matches!(function.sriov, SriovRole::Virtual { .. });
    seen.snapshot.slot(gpu.address).filter(is_own)
}

/// The other GPUs that would be taken with a GPU, or that it would be taken with.
fn find_together(
    number: GpuNumber,
    taken: &BTreeMap<GpuNumber, (PciAddress, BTreeSet<PciAddress>)>,
) -> Vec<GpuNumber> {
    let Some((own_address, own)) = taken.get(&number) else {
        return Vec::new();
    };
    let others = taken.iter().filter(|(other, _)| **other != number);
    others
        .filter(|(_, (address, theirs))| own.contains(address) || theirs.contains(own_address))
        .map(|(other, _)| *other)
        .collect()
}

/// Who has a GPU, or another function of its card.
fn find_holders(seen: &Seen, gpu: &PciFunction) -> Vec<Holder> {
    let slot: Vec<PciAddress> = slot(seen, gpu).map(|function| function.address).collect();
    let holds = |claim: &&SeenClaim| slot.iter().any(|address| claim.claim.holds(*address));
    seen.known_claims().filter(holds).map(holder).collect()
}

fn holder(seen: &SeenClaim) -> Holder {
    let owner = &seen.claim.owner;
    let user = seen.user.clone();
    let user = user.unwrap_or_else(|| owner.uid.to_string());
    match &owner.purpose {
        Purpose::Person => Holder {
            kind: HolderKind::Person,
            name: user,
            user: None,
            exclusive: true,
        },
        Purpose::Machine(name) => Holder {
            kind: HolderKind::Machine,
            name: name.to_string(),
            user: Some(user),
            exclusive: true,
        },
        Purpose::Container(container) => Holder {
            kind: HolderKind::Container,
            name: container.name.to_string(),
            // Whom it runs for says more than the user that its runner is.
            user: Some(container.user.as_ref().map_or(user, ToString::to_string)),
            exclusive: container.exclusive,
        },
    }
}

#[cfg(test)]
mod tests {
    use vfioctl_core::Snapshot;
    use vfioctl_core::claim::Container;

    use super::*;
    use crate::gpu::numbers::Numbers;
    use crate::gpu::place::find_places;
    use crate::gpu::sample::{at, bridge, claim, function, machine};

    const GPU: u32 = 0x03_0000;
    const AUDIO: u32 = 0x04_0300;

    fn details_of(seen: &Seen, numbers: &mut Numbers) -> Vec<Gpu> {
        numbers.take(&find_places(&seen.snapshot).0);
        let numbered: Vec<Numbered<'_>> = numbers
            .0
            .iter()
            .map(|known| Numbered {
                known,
                function: seen.snapshot.function(known.address),
            })
            .collect();
        let details = describe(seen, &numbered, &BTreeMap::new(), &Names::default());
        details.into_iter().map(|detail| detail.gpu).collect()
    }

    fn gpus(snapshot: Snapshot) -> Vec<Gpu> {
        let claims = Ok(Vec::new());
        details_of(&Seen { snapshot, claims }, &mut Numbers::default())
    }

    fn numbers(text: &[u16]) -> Vec<GpuNumber> {
        text.iter().copied().map(GpuNumber::from).collect()
    }

    /// Card 0 with its audio in a group of its own; the audio of card 1 shares the group of card 2,
    /// while cards 1 and 2 have groups of their own; card 3 is in no group.
    fn tangled() -> Snapshot {
        machine([
            bridge("00:01.0").group(1),
            function("01:00.0", GPU).below("00:01.0").group(1),
            function("01:00.1", AUDIO).below("00:01.0").group(2),
            function("02:00.0", GPU).group(3),
            function("02:00.1", AUDIO).group(4),
            function("03:00.0", GPU).group(4),
            function("04:00.0", GPU),
            function("04:00.1", AUDIO),
        ])
    }

    #[test]
    fn a_gpu_goes_with_its_slot_and_with_what_shares_its_groups() {
        let gpus = gpus(tangled());
        let functions: Vec<String> = gpus.iter().map(|gpu| gpu.functions.join(" ")).collect();
        assert_eq!(
            functions,
            [
                "0000:01:00.0 0000:01:00.1",
                "0000:02:00.0 0000:02:00.1 0000:03:00.0",
                "0000:02:00.1 0000:03:00.0",
                "0000:04:00.0 0000:04:00.1",
            ]
        );
    }

    #[test]
    fn what_takes_another_goes_together_with_it_from_both_sides() {
        let together: Vec<Vec<GpuNumber>> = gpus(tangled())
            .into_iter()
            .map(|gpu| gpu.together)
            .collect();
        assert_eq!(
            together,
            [numbers(&[]), numbers(&[2]), numbers(&[1]), numbers(&[])]
        );
    }

    #[test]
    fn a_gpu_that_is_away_keeps_its_number_and_its_name() {
        let mut known = Numbers::default();
        let both = Seen {
            snapshot: tangled(),
            claims: Ok(Vec::new()),
        };
        details_of(&both, &mut known);
        known.learn(0.into(), Some(&"NVIDIA X".to_owned()), Some(81_559));
        let mut snapshot = tangled();
        snapshot.functions.remove(&at("01:00.0"));
        let claims = Ok(Vec::new());
        let gpu = details_of(&Seen { snapshot, claims }, &mut known).remove(0);
        assert_eq!((gpu.number, gpu.present), (0.into(), false));
        assert_eq!(
            (gpu.name.as_str(), gpu.memory_mib),
            ("NVIDIA X", Some(81_559))
        );
        assert_eq!(gpu.vfio, Capability::no("it is not in its place"));
        assert_eq!(gpu.containers, gpu.vfio);
    }

    #[test]
    fn holders_are_whoever_has_claimed_a_function_of_the_card() {
        let snapshot = tangled();
        let container = |exclusive, user: Option<&str>| {
            Purpose::Container(Container {
                name: "train".parse().unwrap(),
                exclusive,
                user: user.map(|user| user.parse().unwrap()),
            })
        };
        let claims = [
            (Purpose::Person, "01:00.1", Some("bob")),
            (Purpose::Machine("win".parse().unwrap()), "02:00.1", None),
            (container(false, Some("ann")), "04:00.0", Some("runner")),
            (container(true, None), "04:00.0", Some("runner")),
        ];
        let claims = claims.map(|(purpose, address, user)| SeenClaim {
            claim: claim(&snapshot, purpose, &[address]),
            user: user.map(str::to_owned),
        });
        let seen = Seen {
            snapshot,
            claims: Ok(claims.into()),
        };
        let text: Vec<Vec<String>> = details_of(&seen, &mut Numbers::default())
            .iter()
            .map(|gpu| gpu.holders.iter().map(ToString::to_string).collect())
            .collect();
        let expected: [&[&str]; 4] = [
            &["user 'bob' of the node"],
            &["machine 'win' of 1001"],
            &[],
            &["container 'train' of ann", "container 'train' of runner"],
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn a_gpu_that_no_driver_has_named_is_called_by_its_numbers_in_the_database() {
        let gpu = gpus(tangled()).remove(0);
        assert_eq!(gpu.name, "NVIDIA AD102 [GeForce RTX 4090]");
        assert_eq!(gpu.id, "10de:2684");
        assert_eq!(gpu.path, "pci0000:00/01.0/00.0");
    }
}
