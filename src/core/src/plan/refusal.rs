//! Why something is not done: what, because, and what to try.

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
}

impl std::error::Error for Refusal {}
