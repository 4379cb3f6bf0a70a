//! What a machine would take and run.

use std::time::Duration;

use vfioctl_core::Snapshot;
use vfioctl_core::claim::{Claim, Original, Owner};
use vfioctl_core::machine::MachineSpec;
use vfioctl_core::pci::{BarKind, GroupId, PciAddress, SriovRole};
use vfioctl_core::plan::{BindPlan, Step};
use vfioctl_qemu::{Accel, Host, PassedDevice, arguments, start_timeout};
use vfioctl_scan::{HostView, read_snapshot};

use crate::MethodError;
use crate::helper::Helper;
use crate::peer::Peer;
use crate::refuse::plan_device;

/// What a machine would take and run.
#[derive(Debug)]
pub(crate) struct MachinePlan {
    /// QEMU's command line.
    pub(crate) arguments: Vec<String>,
    /// What is done to devices before.
    pub(crate) steps: Vec<Step>,
    /// How long the start may take.
    pub(crate) start_timeout: Duration,
    /// The devices it takes.
    pub(super) takes: Vec<Taking>,
    /// The device nodes that QEMU may open.
    pub(super) nodes: Vec<String>,
}

/// One device that a machine takes, with all that goes with it.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) originals: Vec<Original>,
    pub(super) groups: Vec<GroupId>,
    pub(super) steps: Vec<Step>,
    /// The claim that it already has: of the same user, as a person.
    pub(super) held: Option<Claim>,
}

/// Plans a machine; changes nothing.
pub(crate) fn plan(
    helper: &Helper,
    peer: &Peer,
    spec: &MachineSpec,
) -> Result<MachinePlan, MethodError> {
    let snapshot = read_snapshot(&helper.root, HostView::Required)?;
    let takes = plan_devices(helper, peer, spec, &snapshot)?;
    let passed: Vec<PassedDevice> = spec
        .devices
        .iter()
        .map(|device| {
            let functions = passed_functions(&snapshot, &takes, *device);
            PassedDevice {
                windows_bytes: large_windows(&snapshot, &functions),
                functions,
            }
        })
        .collect();
    let accel = accel(helper, peer);
    let folder = helper.runtime.machine(peer.uid, spec.name.as_str());
    let host = Host {
        accel,
        qemu: helper.qemu.clone(),
        runtime_dir: folder.join("io").to_string_lossy().into_owned(),
    };
    let groups = takes.iter().flat_map(|taking| &taking.groups);
    let mut nodes: Vec<String> = groups.map(|group| format!("/dev/vfio/{group}")).collect();
    if !nodes.is_empty() {
        nodes.push("/dev/vfio/vfio".into());
    }
    if accel == Accel::Kvm {
        nodes.push("/dev/kvm".into());
    }
    Ok(MachinePlan {
        arguments: arguments(spec, &host, &passed),
        steps: takes
            .iter()
            .flat_map(|taking| taking.steps.iter().cloned())
            .collect(),
        start_timeout: start_timeout(spec.memory_mib, spec.devices.len(), accel),
        takes,
        nodes,
    })
}

fn plan_devices(
    helper: &Helper,
    peer: &Peer,
    spec: &MachineSpec,
    snapshot: &Snapshot,
) -> Result<Vec<Taking>, MethodError> {
    let claims = helper.state.claims();
    let mut takes: Vec<Taking> = Vec::new();
    for device in &spec.devices {
        let is_taken = |taking: &Taking| taking.originals.iter().any(|o| o.address == *device);
        if takes.iter().any(is_taken) {
            continue;
        }
        let person = Owner::person(peer.uid);
        let held = claims
            .iter()
            .find(|claim| claim.owner == person && claim.holds(*device));
        takes.push(match held {
            Some(claim) => hold(snapshot, claim),
            None => {
                let BindPlan {
                    originals,
                    groups,
                    steps,
                } = plan_device(helper, snapshot, &claims, *device, peer.uid)?;
                Taking {
                    originals,
                    groups,
                    steps,
                    held: None,
                }
            }
        });
    }
    Ok(takes)
}

/// A device that the user bound before: the machine takes it over, and it goes home at its end.
fn hold(snapshot: &Snapshot, claim: &Claim) -> Taking {
    let mut groups: Vec<GroupId> = claim
        .originals
        .iter()
        .filter_map(|original| snapshot.function(original.address)?.iommu_group)
        .collect();
    groups.sort();
    groups.dedup();
    let originals = claim.originals.clone();
    Taking {
        originals,
        groups,
        steps: Vec::new(),
        held: Some(claim.clone()),
    }
}

/// The functions that the guest gets: those of the device's slot. What else shares its group is
/// held back from the host, but is not the guest's business.
fn passed_functions(snapshot: &Snapshot, takes: &[Taking], device: PciAddress) -> Vec<PciAddress> {
    let is_virtual = snapshot
        .function(device)
        .is_some_and(|function| matches!(function.sriov, SriovRole::Virtual { .. }));
    takes
        .iter()
        .flat_map(|taking| &taking.originals)
        .map(|original| original.address)
        .filter(|at| *at == device || (!is_virtual && at.is_same_slot(device)))
        .collect()
}

/// Sizes of the windows that the guest's firmware puts above 4 GiB.
fn large_windows(snapshot: &Snapshot, functions: &[PciAddress]) -> Vec<u64> {
    let functions = functions.iter().filter_map(|at| snapshot.function(*at));
    functions
        .flat_map(|function| &function.bars)
        .filter(|bar| bar.kind == BarKind::Memory64)
        .map(|bar| bar.size_bytes)
        .collect()
}

/// KVM, where this user may open it.
fn accel(helper: &Helper, peer: &Peer) -> Accel {
    let may_open = helper
        .root
        .dev
        .owner_and_mode("kvm")
        .is_some_and(|(uid, gid, mode)| {
            let shift = if uid == peer.uid {
                6
            } else if gid == peer.gid || peer.groups.contains(&gid) {
                3
            } else {
                0
            };
            (mode >> shift) & 0o6 == 0o6
        });
    if may_open { Accel::Kvm } else { Accel::Tcg }
}
