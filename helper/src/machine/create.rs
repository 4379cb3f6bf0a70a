//! Making a machine: devices, folder, QEMU, monitor.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vfioctl_core::Snapshot;
use vfioctl_core::claim::{Claim, Original, Owner};
use vfioctl_core::machine::MachineSpec;
use vfioctl_core::pci::{GroupId, PciAddress, SriovRole};
use vfioctl_core::plan::{BindPlan, Step, plan_bind};
use vfioctl_qemu::{Accel, Host, PassedDevice, arguments, locked_memory_limit, start_timeout};
use vfioctl_scan::{HostView, read_locked_memory_kib, read_snapshot};

use super::lifetime::{finish, identify, save, take_home, watch};
use super::monitor::Monitor;
use super::registry::{Machine, Phase};
use super::{LaunchRequest, Launched};
use crate::apply::take;
use crate::helper::{Helper, now};
use crate::limits::LOG_TAIL_BYTES;
use crate::peer::Peer;
use crate::policy::MayStart;
use crate::sys::Process;
use crate::{MethodError, audit};

/// How often a starting machine is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often its progress is told.
const TELL: Duration = Duration::from_secs(2);

/// What a machine would take and run.
#[derive(Debug)]
pub(crate) struct MachinePlan {
    /// QEMU's command line.
    pub(crate) arguments: Vec<String>,
    /// What is done to devices before.
    pub(crate) steps: Vec<Step>,
    /// How long the start may take.
    pub(crate) start_timeout: Duration,
    takes: Vec<Taking>,
    nodes: Vec<String>,
}

/// One device that a machine takes, with all that goes with it.
#[derive(Debug)]
struct Taking {
    originals: Vec<Original>,
    groups: Vec<GroupId>,
    steps: Vec<Step>,
    /// The claim that it already has: of the same user, as a person.
    held: Option<Claim>,
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
        .map(|device| PassedDevice {
            functions: passed_functions(&snapshot, &takes, *device),
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
                } = plan_bind(snapshot, &claims, *device)?;
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

/// Makes a machine and starts it; when that fails, everything is undone and no machine is left.
pub(crate) fn create(
    helper: &Arc<Helper>,
    peer: &Peer,
    _may_start: &MayStart,
    spec: MachineSpec,
    progress: &mut dyn FnMut(&str),
) -> Result<Arc<Machine>, MethodError> {
    let planned = plan(helper, peer, &spec)?;
    let folder = helper.runtime.machine(peer.uid, spec.name.as_str());
    let monitor = Monitor::at(folder.join("io/qmp.sock"), peer.uid);
    let machine = Arc::new(Machine::new(peer.uid, spec, monitor, now()));
    helper.machines.add(&machine)?;
    let started = start(helper, peer, &machine, &planned, progress);
    match started {
        Ok(()) => Ok(machine),
        Err(error) => {
            forget(helper, &machine);
            Err(error)
        }
    }
}

/// Forgets a stopped machine.
pub(crate) fn remove(helper: &Helper, machine: &Machine) -> Result<(), MethodError> {
    let owner = machine.owner();
    if machine.phase() != Phase::Stopped {
        return Err(MethodError::refused(
            "Running",
            format!("machine '{}' runs", machine.name()),
            format!("stop it first: 'vfioctl vm stop {}'", machine.name()),
        ));
    }
    if helper
        .state
        .claims()
        .iter()
        .any(|claim| claim.owner == owner)
    {
        return Err(MethodError::refused(
            "NotHome",
            format!("devices of machine '{}' are not home yet", machine.name()),
            "run 'vfioctl recover'",
        ));
    }
    forget(helper, machine);
    Ok(())
}

/// Nothing of a machine is left: devices home, no record, no folder.
fn forget(helper: &Helper, machine: &Machine) {
    if machine.phase() != Phase::Stopped {
        take_home(helper, machine);
        machine.change(|life| life.phase = Phase::Stopped);
    }
    let name = super::record::file_name(machine.uid, machine.name());
    if let Err(error) = helper.state.remove_machine(&name) {
        audit::error(&error.to_string());
    }
    if let Err(error) = helper
        .runtime
        .remove_machine(machine.uid, machine.name().as_str())
    {
        audit::warning(&format!(
            "cannot remove a machine's folder: {error}, ignoring"
        ));
    }
    helper.machines.remove(machine);
}

fn start(
    helper: &Arc<Helper>,
    peer: &Peer,
    machine: &Arc<Machine>,
    planned: &MachinePlan,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    // Before there is a process: a helper that is killed right after the start finds it by this.
    let unit = helper.launcher.unit_name(peer.uid, machine.name().as_str());
    machine.change(|life| life.unit = unit);
    save(helper, machine);
    for taking in &planned.takes {
        take_device(helper, peer, machine, taking, progress)?;
    }
    let folder = helper.runtime.make_machine(peer.uid, machine.name().as_str()).map_err(|error| {
        MethodError::failed(
            format!("cannot make the machine's folder: {error}"),
            "remove what is left of an earlier machine of that name below /run/vfioctl/machines",
            true,
        )
    })?;
    progress("starting QEMU");
    let log = folder.join("log");
    let request = LaunchRequest {
        peer,
        name: machine.name().as_str(),
        arguments: &planned.arguments,
        log: &log,
        locked_memory_bytes: locked_memory_limit(&machine.spec),
        devices: &planned.nodes,
        timeout: planned.start_timeout,
    };
    let launched = helper
        .launcher
        .start(&request)
        .map_err(|because| not_started(because, &log))?;
    run(helper, machine, planned, &launched, &log, progress)
}

fn take_device(
    helper: &Helper,
    peer: &Peer,
    machine: &Machine,
    taking: &Taking,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    let owner = machine.owner();
    let _reservation = helper.reserve(&taking.groups, &owner)?;
    let claim = Claim {
        owner,
        originals: taking.originals.clone(),
        since: now(),
    };
    match &taking.held {
        Some(_) => helper.state.put_claim(&claim)?,
        None => {
            // Between the plan and the reservation another may have been faster.
            let taken = taking
                .originals
                .iter()
                .find_map(|o| helper.state.claim_of(o.address));
            if let (Some(other), Some(first)) = (taken, taking.originals.first()) {
                let address = first.address;
                let owner = other.owner;
                return Err(vfioctl_core::plan::Refusal::Claimed { address, owner }.into());
            }
            take(helper, &claim, &taking.steps, &mut |step| {
                progress(&step.to_string())
            })?;
        }
    }
    for group in &taking.groups {
        helper
            .kernel
            .grant_group(*group, peer.uid)
            .map_err(|error| {
                MethodError::failed(
                    format!("cannot give you the VFIO node of group {group}: {error}"),
                    "look at the kernel's log ('dmesg'); everything is taken home",
                    true,
                )
            })?;
    }
    Ok(())
}

/// From the start of the process until its monitor answers.
fn run(
    helper: &Arc<Helper>,
    machine: &Arc<Machine>,
    planned: &MachinePlan,
    launched: &Launched,
    log: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(), MethodError> {
    let Some(process) = Process::open(launched.pid) else {
        return Err(not_started("QEMU ended at once".into(), log));
    };
    machine.change(|life| {
        life.process = identify(helper, launched.pid);
        life.unit.clone_from(&launched.unit);
    });
    save(helper, machine);
    let outcome = wait_for_monitor(helper, machine, planned, launched, &process, progress);
    if let Err(because) = outcome {
        let _ = crate::sys::kill(&process);
        process.wait(POLL, || {});
        machine.change(|life| life.phase = Phase::Stopping);
        finish(helper, machine);
        return Err(not_started(because, log));
    }
    machine.change(|life| life.phase = Phase::Running);
    save(helper, machine);
    watch(helper, machine, process);
    Ok(())
}

fn wait_for_monitor(
    helper: &Helper,
    machine: &Machine,
    planned: &MachinePlan,
    launched: &Launched,
    process: &Process,
    progress: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let start = Instant::now();
    let mut told = start;
    loop {
        let left = planned.start_timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            let limit = planned.start_timeout.as_secs();
            return Err(format!("QEMU has not started within {limit} s"));
        }
        // Listens at once, greets when its devices are made: pinning memory lies between.
        match machine.monitor.greet(TELL.min(left)) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind() == vfioctl_qemu::qmp::QmpErrorKind::TimedOut => {}
            Err(error) => return Err(format!("QEMU's monitor: {error}")),
        }
        if process.has_ended_within(POLL) {
            return Err("QEMU ended while it started".into());
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let locked = read_locked_memory_kib(&helper.root, launched.pid).unwrap_or_default();
            progress(&format!(
                "QEMU is starting: {} of {} MiB of memory are pinned",
                locked / 1024,
                machine.spec.memory_mib
            ));
        }
    }
}

fn not_started(because: String, log: &Path) -> MethodError {
    let said = read_tail(log);
    let message = if said.is_empty() {
        because
    } else {
        format!("{because}; QEMU said: {said}")
    };
    MethodError::failed(
        message,
        "mend what QEMU names and try again; 'vfioctl vm create --plan' prints its command line",
        true,
    )
}

/// The last lines of QEMU's own log, as one.
fn read_tail(log: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let tail = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        let len = file.metadata()?.len();
        let limit = u64::try_from(LOG_TAIL_BYTES).unwrap_or(u64::MAX);
        file.seek(SeekFrom::Start(len.saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = tail().unwrap_or_default();
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" | ")
}
