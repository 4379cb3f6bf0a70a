//! Why something is not done: what, because, and what to try.

use std::fmt;

use crate::acs::{BitNames, Reason};
use crate::claim::Owner;
use crate::pci::{DriverName, Identity, PciAddress};
use crate::snapshot::HostUse;

/// Why a plan cannot be made. Every refusal can say what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No function sits at the address.
    UnknownAddress(PciAddress),
    /// The function is a bridge.
    Bridge(PciAddress),
    /// The function is a host bridge or an ISA bridge: the machine's own plumbing.
    Platform(PciAddress),
    /// A member of the group that stays with the host has a driver which keeps VFIO from using it.
    Spoiled {
        /// The function that was asked for.
        asked: PciAddress,
        /// The member.
        member: PciAddress,
        /// Its driver.
        driver: DriverName,
    },
    /// Whether the function is a bridge could not be seen.
    HeaderHidden(PciAddress),
    /// Config space of the function reads as all ones.
    Gone(PciAddress),
    /// No IOMMU covers the function.
    NoGroup(PciAddress),
    /// The function, or one that goes with it, belongs to someone.
    Claimed {
        /// The function.
        address: PciAddress,
        /// Who has it.
        owner: Owner,
    },
    /// Containers use the function, or one that goes with it, with its own driver.
    InContainer {
        /// The function that was asked for.
        asked: PciAddress,
        /// The function that is used.
        member: PciAddress,
        /// The first of the containers.
        owner: Owner,
        /// How many more there are.
        others: usize,
    },
    /// A container has the function for itself.
    Exclusive {
        /// The function.
        address: PciAddress,
        /// The container.
        owner: Owner,
    },
    /// The function is wanted for one container alone, and others use it.
    Shared {
        /// The function.
        address: PciAddress,
        /// The first of those containers.
        owner: Owner,
        /// How many more there are.
        others: usize,
    },
    /// The function is on a VFIO driver, where no container can use it.
    OnVfio {
        /// The function.
        address: PciAddress,
        /// The driver.
        driver: DriverName,
    },
    /// The function has no driver, so that no container can use it.
    NoDriver(PciAddress),
    /// The machine itself lives on the function or on one that goes with it.
    NeededByHost {
        /// The function that was asked for.
        asked: PciAddress,
        /// The function that the machine needs.
        member: PciAddress,
        /// What it needs it for.
        host_use: HostUse,
    },
    /// A mounted file system's disk could not be found out, so no disk controller is safe.
    StorageHidden {
        /// The disk controller.
        member: PciAddress,
        /// The file system.
        mount_point: String,
    },
    /// An interface that the machine routes by could not be found out, so no network controller is
    /// safe.
    NetworkHidden {
        /// The network controller.
        member: PciAddress,
        /// The interface.
        interface: String,
    },
    /// The function has virtual functions; the kernel does not give such a one to VFIO.
    HasVirtualFunctions {
        /// The physical function.
        address: PciAddress,
        /// How many there are.
        count: usize,
    },
    /// Its `driver_override` could not be read: an earlier write to the function hangs.
    Locked(PciAddress),
    /// Nobody has claimed the function, so there is nothing to release.
    NotClaimed(PciAddress),
    /// The claim belongs to someone else.
    NotOwner {
        /// The function.
        address: PciAddress,
        /// Who has it.
        owner: Owner,
    },
    /// A running machine has the function.
    InMachine {
        /// The function.
        address: PciAddress,
        /// The machine's owner.
        owner: Owner,
    },
    /// A bridge on the way cannot isolate, so no register write can separate the device.
    NoAcs {
        /// The device that was asked for.
        asked: PciAddress,
        /// The bridge.
        bridge: PciAddress,
        /// Why it does not isolate.
        because: Reason,
        /// The kernel parameter that some kernels honour, where it would be about this bridge.
        parameter: Option<&'static str>,
    },
    /// The device shares its group for another reason than a bridge above it.
    NotSeparable(PciAddress),
    /// The function has no ACS capability.
    NoAcsCapability(PciAddress),
    /// The function does not offer these bits.
    BitsNotOffered {
        /// The function.
        address: PciAddress,
        /// The bits.
        bits: BitNames,
    },
    /// The change would join devices that different people have.
    WouldJoin {
        /// A function that someone has.
        member: PciAddress,
        /// The function it would be joined with.
        partner: PciAddress,
        /// Who has it.
        owner: Owner,
    },
    /// ACS bits have been cleared, and someone else has a device that is no longer kept apart.
    IsolationReduced {
        /// The device that was asked for.
        asked: PciAddress,
        /// The other device.
        partner: PciAddress,
        /// Who has that one.
        owner: Owner,
    },
    /// Another device now sits at the address.
    Changed {
        /// The address.
        address: PciAddress,
        /// What sat there.
        expected: Identity,
        /// What sits there now.
        found: Option<Identity>,
    },
}

impl Refusal {
    /// A short name for programs, in the form of varlink's error names.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownAddress(_) => "UnknownAddress",
            Self::Bridge(_) => "Bridge",
            Self::Platform(_) => "Platform",
            Self::Spoiled { .. } => "Spoiled",
            Self::HeaderHidden(_) => "HeaderHidden",
            Self::Gone(_) => "Gone",
            Self::NoGroup(_) => "NoGroup",
            Self::Claimed { .. } => "Claimed",
            Self::InContainer { .. } => "InContainer",
            Self::Exclusive { .. } => "Exclusive",
            Self::Shared { .. } => "Shared",
            Self::OnVfio { .. } => "OnVfio",
            Self::NoDriver(_) => "NoDriver",
            Self::NeededByHost { .. } => "NeededByHost",
            Self::StorageHidden { .. } => "StorageHidden",
            Self::NetworkHidden { .. } => "NetworkHidden",
            Self::HasVirtualFunctions { .. } => "HasVirtualFunctions",
            Self::Locked(_) => "Locked",
            Self::NotClaimed(_) => "NotClaimed",
            Self::NotOwner { .. } => "NotOwner",
            Self::InMachine { .. } => "InMachine",
            Self::NoAcs { .. } => "NoAcs",
            Self::NotSeparable(_) => "NotSeparable",
            Self::NoAcsCapability(_) => "NoAcsCapability",
            Self::BitsNotOffered { .. } => "BitsNotOffered",
            Self::WouldJoin { .. } => "WouldJoin",
            Self::IsolationReduced { .. } => "IsolationReduced",
            Self::Changed { .. } => "Changed",
        }
    }

    /// Who has what stands in the way, where someone has.
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Claimed { owner, .. }
            | Self::InContainer { owner, .. }
            | Self::Exclusive { owner, .. }
            | Self::Shared { owner, .. }
            | Self::NotOwner { owner, .. }
            | Self::InMachine { owner, .. }
            | Self::WouldJoin { owner, .. }
            | Self::IsolationReduced { owner, .. } => Some(owner),
            _ => None,
        }
    }

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
                crate::claim::Purpose::Machine(name) => {
                    format!("stop the machine first: 'vfioctl vm stop {name}'")
                }
                crate::claim::Purpose::Person | crate::claim::Purpose::Container(_) => {
                    "stop what uses it first".into()
                }
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

impl std::error::Error for Refusal {}

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
