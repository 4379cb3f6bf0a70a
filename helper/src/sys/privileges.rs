//! Giving up what the helper does not need, before its first thread is made.
//!
//! Capabilities belong to threads: one that was started earlier would keep everything
//! (`capabilities(7)`).

use caps::{CapSet, Capability, CapsHashSet};

/// What the helper needs when systemd starts machines.
const WITH_SYSTEMD: [Capability; 4] = [
    // Reading config space beyond 64 bytes (`drivers/pci/pci-sysfs.c`, `pci_read_config`).
    Capability::CAP_SYS_ADMIN,
    // Giving a user the VFIO node and the machine's folder.
    Capability::CAP_CHOWN,
    // Seeing who has a device open, and what process 1 has mounted.
    Capability::CAP_SYS_PTRACE,
    // Listing the descriptors of other users' processes: `/proc/PID/fd` is theirs alone (0500).
    Capability::CAP_DAC_READ_SEARCH,
];

/// What it needs besides to start QEMU itself.
const WITHOUT_SYSTEMD: [Capability; 5] = [
    // QEMU runs as its user.
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    // Ending a user's QEMU.
    Capability::CAP_KILL,
    // Raising a machine's limit of locked memory.
    Capability::CAP_SYS_RESOURCE,
    // Emptying QEMU's bounding set.
    Capability::CAP_SETPCAP,
];

/// Keeps the capabilities that are needed and gives up all others, for good.
///
/// # Errors
/// What the kernel said.
pub(crate) fn drop_privileges(starts_qemu_itself: bool) -> Result<(), caps::errors::CapsError> {
    let mut keep: CapsHashSet = WITH_SYSTEMD.into_iter().collect();
    if starts_qemu_itself {
        keep.extend(WITHOUT_SYSTEMD);
    }
    // Dropping from the bounding set needs CAP_SETPCAP, so this comes first; where a service
    // manager has already taken that away, it has bounded the set as well.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::all() {
            if !keep.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let held = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = keep.intersection(&held).copied().collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
