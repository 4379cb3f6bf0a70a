//! The whole machine: every PCI function and what the machine needs it for.

use vfioctl_core::pci::PciAddress;
use vfioctl_core::{Problem, Snapshot};

use crate::function::{DEVICES, read_all_but_override, read_function, set_override};
use crate::host_input::read_input_uses;
use crate::host_use::{HostView, read_host_uses};
use crate::overrides::read_overrides;
use crate::{ReadError, SysRoot};

/// A thread is worth its start from about this many functions on.
const FUNCTIONS_A_THREAD: usize = 512;
/// More threads than this only wait for each other in the kernel's sysfs locks.
const MAX_THREADS: usize = 8;

/// Looks at the whole machine.
///
/// # Errors
/// Where the list of PCI functions itself cannot be read, or what the machine lives on is required
/// and cannot be. A machine without PCI has an empty snapshot.
pub fn read_snapshot(root: &SysRoot, view: HostView) -> Result<Snapshot, ReadError> {
    let addresses: Vec<PciAddress> = root
        .sys
        .list(DEVICES)?
        .unwrap_or_default()
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    let mut snapshot = Snapshot::default();
    let mut overrides = read_overrides(root, &addresses);
    for (function, problem) in read_all(root, &addresses) {
        if let Some(mut function) = function {
            let read = overrides.remove(&function.address);
            set_override(&mut function, read);
            snapshot.functions.insert(function.address, function);
        }
        snapshot.problems.extend(problem);
    }
    read_host_uses(root, view, &mut snapshot)?;
    read_input_uses(root, &mut snapshot);
    Ok(snapshot)
}

/// Looks at the functions of one slot only.
///
/// # Errors
/// Where one of them is there and cannot be read.
pub fn read_slot(root: &SysRoot, address: PciAddress) -> Result<Snapshot, ReadError> {
    let mut snapshot = Snapshot::default();
    for number in 0..8 {
        let sibling =
            PciAddress::new(address.domain(), address.bus(), address.device(), number).ok();
        if let Some(sibling) = sibling
            && let Some(function) = read_function(root, sibling)?
        {
            snapshot.functions.insert(sibling, function);
        }
    }
    Ok(snapshot)
}

type Looked = (Option<vfioctl_core::pci::PciFunction>, Option<Problem>);

fn read_all(root: &SysRoot, addresses: &[PciAddress]) -> Vec<Looked> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (addresses.len() / FUNCTIONS_A_THREAD).clamp(1, processors.min(MAX_THREADS));
    let share = addresses.len().div_ceil(threads).max(1);
    if threads == 1 {
        return addresses
            .iter()
            .map(|address| look(root, *address))
            .collect();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = addresses
            .chunks(share)
            .map(|part| scope.spawn(|| part.iter().map(|at| look(root, *at)).collect::<Vec<_>>()))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_default())
            .collect()
    })
}

fn look(root: &SysRoot, address: PciAddress) -> Looked {
    match read_all_but_override(root, address) {
        Ok(function) => (function, None),
        Err(error) => {
            let subject = error.path().to_owned();
            (
                None,
                Some(Problem {
                    subject,
                    because: error.because(),
                }),
            )
        }
    }
}
