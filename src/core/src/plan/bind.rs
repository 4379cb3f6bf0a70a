//! How devices are taken from their drivers and given to vfio-pci.

use std::collections::BTreeSet;

use crate::Answer;
use crate::claim::{Claim, Original, Owner, Purpose};
use crate::iommu::{GroupIndex, Spoiler, Viability, viability};
use crate::pci::{DriverName, GroupId, PciAddress, PciFunction, SriovRole};
use crate::{HostUse, Snapshot};

use super::{Refusal, Step};

/// What binding a device would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindPlan {
    /// Every function that is taken, as it is now, in the order of addresses.
    pub originals: Vec<Original>,
    /// The groups that are taken.
    pub groups: Vec<GroupId>,
    /// The steps, in order. Empty where every function is already on a VFIO driver.
    pub steps: Vec<Step>,
}

/// Plans to give a device to vfio-pci: all endpoints of its group; for a GPU, those of the groups
/// of every function of its slot.
///
/// `claims` are all claims of this machine. A function already claimed by `owner` for a person
/// is refused too: the caller decides whether that is a success.
///
/// # Errors
/// The first [`Refusal`] that stands in the way.
pub fn plan_bind<'a>(
    snapshot: &Snapshot,
    claims: impl IntoIterator<Item = &'a Claim> + Clone,
    address: PciAddress,
) -> Result<BindPlan, Refusal> {
    plan_bind_by(snapshot, &GroupIndex::of(snapshot), claims, address)
}

/// The same, for callers who ask about many devices of one snapshot: `index` is made of it once.
///
/// # Errors
/// The first [`Refusal`] that stands in the way.
pub fn plan_bind_by<'a>(
    snapshot: &Snapshot,
    index: &GroupIndex,
    claims: impl IntoIterator<Item = &'a Claim> + Clone,
    address: PciAddress,
) -> Result<BindPlan, Refusal> {
    let groups = find_groups(snapshot, address)?;
    let mut members: Vec<&PciFunction> = Vec::new();
    for function in groups
        .iter()
        .flat_map(|group| index.members(snapshot, *group))
    {
        if stays_with_host(function)? {
            refuse_spoiled(address, function)?;
        } else {
            members.push(function);
        }
    }
    members.sort_by_key(|member| member.address);
    for member in &members {
        refuse_member(snapshot, claims.clone(), address, member, Taking::Bind)?;
    }
    Ok(BindPlan {
        originals: members.iter().map(|member| Original::of(member)).collect(),
        groups: groups.into_iter().collect(),
        steps: bind_steps(&members),
    })
}

/// The groups that go with a device. Needs no more of the machine than the device's own slot.
///
/// # Errors
/// The first [`Refusal`] that stands in the way.
pub fn find_groups(snapshot: &Snapshot, address: PciAddress) -> Result<BTreeSet<GroupId>, Refusal> {
    let asked = snapshot
        .function(address)
        .ok_or(Refusal::UnknownAddress(address))?;
    if asked.is_gone() {
        return Err(Refusal::Gone(address));
    }
    if is_bridge(asked)? {
        return Err(Refusal::Bridge(address));
    }
    if asked.class.is_platform() {
        return Err(Refusal::Platform(address));
    }
    let mut groups = BTreeSet::from([asked.iommu_group.ok_or(Refusal::NoGroup(address))?]);
    // A GPU is given whole, with its audio, USB and UCSI functions, also where ACS puts each in
    // a group of its own. Other devices (network cards) are often meant function by function.
    if goes_as_a_slot(snapshot, asked) {
        for sibling in snapshot.slot(address) {
            groups.insert(
                sibling
                    .iommu_group
                    .ok_or(Refusal::NoGroup(sibling.address))?,
            );
        }
    }
    Ok(groups)
}

fn goes_as_a_slot(snapshot: &Snapshot, asked: &PciFunction) -> bool {
    // A virtual function shares its slot number with others by arithmetic only.
    let is_virtual = matches!(asked.sriov, SriovRole::Virtual { .. });
    !is_virtual
        && snapshot
            .slot(asked.address)
            .any(|function| function.class.is_gpu())
}

pub(super) fn is_bridge(function: &PciFunction) -> Result<bool, Refusal> {
    match function.is_bridge() {
        Answer::Known(is_bridge) => Ok(is_bridge),
        Answer::CannotSee if function.is_gone() => Err(Refusal::Gone(function.address)),
        Answer::CannotSee => Err(Refusal::HeaderHidden(function.address)),
    }
}

/// Bridges and the machine's own plumbing are members of groups and are never taken.
fn stays_with_host(function: &PciFunction) -> Result<bool, Refusal> {
    Ok(is_bridge(function)? || function.class.is_platform())
}

/// What stays must not stand in the way: `shpchp` on a bridge does, `pcieport` does not.
fn refuse_spoiled(asked: PciAddress, member: &PciFunction) -> Result<(), Refusal> {
    match viability([member]) {
        Viability::Spoiled(spoilers) => spoilers.into_iter().next().map_or(Ok(()), |spoiler| {
            let Spoiler {
                address: member,
                driver,
            } = spoiler;
            Err(Refusal::Spoiled {
                asked,
                member,
                driver,
            })
        }),
        Viability::Viable | Viability::Unbound => Ok(()),
    }
}

/// What a function is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    /// To be given to someone. Its display and a keyboard plugged into it are the caller's own
    /// business: a machine with one card is given away console and all.
    Bind,
    /// To be removed and found again, behind the back of whoever sits there.
    Cycle,
}

impl Taking {
    fn spares(self, host_use: &HostUse, is_asked: bool) -> bool {
        match (self, host_use) {
            (Self::Bind, HostUse::Console) => false,
            // Not as a by-catch.
            (Self::Bind, HostUse::Keyboard { .. }) => !is_asked,
            _ => true,
        }
    }
}

pub(super) fn refuse_member<'a>(
    snapshot: &Snapshot,
    claims: impl IntoIterator<Item = &'a Claim>,
    asked: PciAddress,
    member: &PciFunction,
    taking: Taking,
) -> Result<(), Refusal> {
    let address = member.address;
    refuse_claimed(claims, asked, address)?;
    if let Some(host_use) = snapshot
        .host_uses
        .get(&address)
        .into_iter()
        .flatten()
        .find(|host_use| taking.spares(host_use, asked == address))
    {
        let host_use = host_use.clone();
        return Err(Refusal::NeededByHost {
            asked,
            member: address,
            host_use,
        });
    }
    // Base classes: 0x01 mass storage, 0x02 network.
    match (
        member.class.base(),
        &snapshot.hidden_storage,
        &snapshot.hidden_network,
    ) {
        (0x01, Some(mount_point), _) => {
            let mount_point = mount_point.clone();
            return Err(Refusal::StorageHidden {
                member: address,
                mount_point,
            });
        }
        (0x02, _, Some(interface)) => {
            let interface = interface.clone();
            return Err(Refusal::NetworkHidden {
                member: address,
                interface,
            });
        }
        _ => {}
    }
    if matches!(member.driver_override, Answer::CannotSee) {
        return Err(Refusal::Locked(address));
    }
    match &member.sriov {
        SriovRole::Physical {
            virtual_functions, ..
        } if !virtual_functions.is_empty() => Err(Refusal::HasVirtualFunctions {
            address,
            count: virtual_functions.len(),
        }),
        _ => Ok(()),
    }
}

/// Makes sure that nobody has a function; `asked` is what it goes with.
///
/// # Errors
/// [`Refusal::Claimed`], [`Refusal::InContainer`].
pub fn refuse_claimed<'a>(
    claims: impl IntoIterator<Item = &'a Claim>,
    asked: PciAddress,
    member: PciAddress,
) -> Result<(), Refusal> {
    let Some((owner, others)) = find_holders(claims, member) else {
        return Ok(());
    };
    Err(match &owner.purpose {
        Purpose::Container(_) => Refusal::InContainer {
            asked,
            member,
            owner,
            others,
        },
        Purpose::Person | Purpose::Machine(_) => Refusal::Claimed {
            address: member,
            owner,
        },
    })
}

/// The first one who has a function, and how many more there are. Who has it whole has it alone, so
/// the others are containers where the first one is.
pub(super) fn find_holders<'a>(
    claims: impl IntoIterator<Item = &'a Claim>,
    address: PciAddress,
) -> Option<(Owner, usize)> {
    let mut holders = claims.into_iter().filter(|claim| claim.holds(address));
    let first = holders.next()?;
    Some((first.owner.clone(), holders.count()))
}

/// All overrides first: from then on no native driver can take a function that is let go.
fn bind_steps(members: &[&PciFunction]) -> Vec<Step> {
    let vfio = DriverName::vfio_pci();
    let on_vfio = |member: &PciFunction| member.driver.as_ref().is_some_and(DriverName::is_vfio);
    let to_take: Vec<&&PciFunction> = members.iter().filter(|member| !on_vfio(member)).collect();
    let mut steps = Vec::new();
    for member in &to_take {
        let from = member.driver_override.clone().known().flatten();
        if from.as_deref() != Some(vfio.as_str()) {
            let to = Some(vfio.as_str().to_owned());
            steps.push(Step::SetOverride {
                address: member.address,
                from,
                to,
            });
        }
    }
    for member in &to_take {
        if let Some(driver) = &member.driver {
            steps.push(Step::Unbind {
                address: member.address,
                driver: driver.clone(),
            });
        }
        steps.push(Step::Bind {
            address: member.address,
            driver: vfio.clone(),
        });
    }
    steps
}

impl Owner {
    /// A person, by number.
    pub fn person(uid: u32) -> Self {
        Self {
            uid,
            purpose: Purpose::Person,
        }
    }
}
