//! What a refusal says: the sentence, and what to try.

use std::fmt;

use crate::claim::Purpose;

use super::Refusal;

impl Refusal {
    /// What a person can do about it; starts with a verb.
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownAddress(_) => {
                "run 'vfioctl list --all' to see the addresses of this machine".into()
            }
            Self::Bridge(_) => {
                "name a device below the bridge; 'vfioctl groups --tree' shows them".into()
            }
            Self::Platform(_) => "name another device; 'vfioctl list' shows the GPUs".into(),
            Self::Spoiled { member, driver, .. } => format!(
                "move the card to another slot, or, where nothing needs it, take {member} from \
                 its driver: as root, write {member} to /sys/bus/pci/drivers/{driver}/unbind"
            ),
            Self::HeaderHidden(address) => {
                format!("run 'vfioctl show {address}' to see what could not be read, and why")
            }
            Self::Gone(_) => "power the machine off and on; a device in this state has lost its \
                              link and no driver can use it"
                .into(),
            Self::NoGroup(_) => {
                "switch the IOMMU on in the firmware and on the kernel command line; \
                 'vfioctl check' says how"
                    .into()
            }
            Self::Claimed { owner, .. } | Self::NotOwner { owner, .. } => {
                format!("ask {owner} to release it, or choose another device")
            }
            Self::InContainer { .. } | Self::Exclusive { .. } => {
                "wait until the container has ended, or end it, or choose another device; 'vfioctl \
                 list' shows who uses what"
                    .into()
            }
            Self::Shared { .. } => "share it too, or choose a device that nobody uses; 'vfioctl \
                                    list' shows who uses what"
                .into(),
            Self::OnVfio { address, .. } => format!(
                "give it back to its own driver: 'vfioctl release {address}', or, where vfioctl has \
                 not bound it, by whatever did"
            ),
            Self::NoDriver(address) => format!(
                "load its driver; 'vfioctl show {address}' and the kernel's log ('dmesg') say what \
                 there is to know"
            ),
            Self::NeededByHost { .. } => {
                "choose another device, or move this one to a slot with a group of its own; \
                 'vfioctl groups' shows what shares a group"
                    .into()
            }
            Self::StorageHidden { .. } => {
                "choose a device whose group has no disk controller in it".into()
            }
            Self::NetworkHidden { .. } => {
                "choose a device whose group has no network controller in it".into()
            }
            Self::HasVirtualFunctions { address, .. } => format!(
                "pass one of its virtual functions, or remove them by writing 0 to \
                 sriov_numvfs of {address}"
            ),
            Self::Locked(_) => "end the programs that use the device; the kernel's log ('dmesg') \
                                names the driver that does not let go"
                .into(),
            Self::NotClaimed(_) => "run 'vfioctl list --all' to see who has what".into(),
            Self::InMachine { owner, .. } => match &owner.purpose {
                Purpose::Machine(name) => {
                    format!("stop the machine first: 'vfioctl vm stop {name}'")
                }
                Purpose::Person | Purpose::Container(_) => "stop what uses it first".into(),
            },
            Self::NoAcs {
                asked,
                parameter: Some(parameter),
                ..
            } => format!(
                "move the card to another slot, or give the whole group to one machine ('vfioctl \
                 groups --predict {asked}' shows both); a kernel with the ACS override patch (not \
                 Debian's) would honour '{parameter}': it asserts a separation that the hardware \
                 does not make, so trust no guest with it"
            ),
            Self::NoAcs { asked, .. } | Self::NotSeparable(asked) => format!(
                "give the whole group to one machine, or move the card to another slot; 'vfioctl \
                 groups --predict {asked}' shows what shares it and why"
            ),
            Self::NoAcsCapability(_) => {
                "name a port that has ACS; 'vfioctl acs audit' shows the ports above each GPU"
                    .into()
            }
            Self::BitsNotOffered { address, .. } => {
                format!("see what it offers with 'vfioctl show {address}'")
            }
            Self::WouldJoin { owner, .. } => {
                format!("ask {owner} to release the device first")
            }
            Self::IsolationReduced { .. } => {
                "switch ACS on again: 'vfioctl acs restore', or 'vfioctl acs override'".into()
            }
            Self::Changed { address, .. } => {
                format!("look at it with 'vfioctl show {address}' and ask again")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAddress(address) => write!(f, "there is no PCI function at {address}"),
            Self::Bridge(address) => write!(
                f,
                "{address} is a bridge: bridges stay with the host, devices below them can be given"
            ),
            Self::Platform(address) => write!(
                f,
                "{address} is a host or ISA bridge: it leads to the rest of this machine and stays \
                 with it"
            ),
            Self::Spoiled {
                asked,
                member,
                driver,
            } => write!(
                f,
                "the group of {asked} cannot be given away: {member}, which stays with the host, \
                 is used by {driver}"
            ),
            Self::HeaderHidden(address) => {
                write!(
                    f,
                    "config space of {address} could not be read, so it may be a bridge"
                )
            }
            Self::Gone(address) => {
                write!(
                    f,
                    "{address} does not answer: its config space reads as all ones"
                )
            }
            Self::NoGroup(address) => write!(
                f,
                "{address} is in no IOMMU group: without one nothing confines its DMA to a guest"
            ),
            Self::Claimed { address, owner } => write!(f, "{address} belongs to {owner}"),
            Self::InContainer {
                asked,
                member,
                owner,
                others,
            } => {
                if asked != member {
                    write!(
                        f,
                        "{asked} cannot be taken alone: {member} goes with it, and "
                    )?;
                }
                write!(f, "{member} is used by {owner}{}", AndOthers(*others))
            }
            Self::Exclusive { address, owner } => {
                write!(f, "{address} is used by {owner}, which has it for itself")
            }
            Self::Shared {
                address,
                owner,
                others,
            } => write!(
                f,
                "{address} is wanted for one container alone, and is used by {owner}{}",
                AndOthers(*others)
            ),
            Self::OnVfio { address, driver } => write!(
                f,
                "{address} is on {driver}, which is for virtual machines: no container can use it"
            ),
            Self::NoDriver(address) => {
                write!(f, "{address} has no driver: no container can use it")
            }
            Self::NeededByHost {
                asked,
                member,
                host_use,
            } if asked == member => {
                write!(f, "this machine lives on {asked}: it {host_use}")
            }
            Self::NeededByHost {
                asked,
                member,
                host_use,
            } => write!(
                f,
                "{asked} cannot be taken alone: {member} goes with it, and {member} {host_use}"
            ),
            Self::StorageHidden {
                member,
                mount_point,
            } => write!(
                f,
                "{member} is a disk controller, and the disk behind '{mount_point}' could not be \
                 found out"
            ),
            Self::NetworkHidden { member, interface } => write!(
                f,
                "{member} is a network controller, and the device of '{interface}', which this \
                 machine routes by, could not be found out"
            ),
            Self::HasVirtualFunctions { address, count } => {
                write!(
                    f,
                    "{address} has {count} virtual functions and must stay with its driver"
                )
            }
            Self::Locked(address) => write!(
                f,
                "{address} is locked in the kernel: an earlier bind or unbind of it has not returned"
            ),
            Self::NotClaimed(address) => write!(f, "nobody has claimed {address}"),
            Self::NoAcs {
                asked,
                bridge,
                because,
                ..
            } => write!(
                f,
                "{asked} cannot be separated: the bridge {bridge} above it does not isolate, since \
                 {because}, and no register write can change that"
            ),
            Self::NotSeparable(asked) => write!(
                f,
                "{asked} cannot be separated: what joins it with other devices is not a bridge \
                 above it"
            ),
            Self::NoAcsCapability(address) => write!(f, "{address} has no ACS capability"),
            Self::BitsNotOffered { address, bits } => {
                write!(
                    f,
                    "{address} does not offer the ACS bits {bits}: they would stay off"
                )
            }
            Self::WouldJoin {
                member,
                partner,
                owner,
            } => write!(
                f,
                "the change would let {partner} reach {member}, which belongs to {owner}"
            ),
            Self::IsolationReduced {
                asked,
                partner,
                owner,
            } => write!(
                f,
                "{asked} is not kept apart from {partner}, which belongs to {owner}: ACS bits \
                 above them have been cleared"
            ),
            Self::NotOwner { address, owner } => write!(f, "{address} belongs to {owner}, not you"),
            Self::InMachine { address, owner } => write!(f, "{address} is in use by {owner}"),
            Self::Changed {
                address,
                expected,
                found: Some(found),
            } => write!(
                f,
                "another device sits at {address}: {found} where {expected} was expected"
            ),
            Self::Changed {
                address,
                expected,
                found: None,
            } => {
                write!(f, "{address} is empty where {expected} was expected")
            }
        }
    }
}

/// How many containers there are beside the one that is named.
struct AndOthers(usize);

impl fmt::Display for AndOthers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" and 1 other container"),
            others => write!(f, " and {others} other containers"),
        }
    }
}
