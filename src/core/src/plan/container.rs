//! What a container may use: functions with their own drivers, shared or alone.
//!
//! Nothing is done to them. What is decided is who may have them at the same time: any number of
//! containers, or one, and nobody else.

use crate::claim::{Claim, Original, Purpose};
use crate::pci::{DriverName, PciAddress, PciFunction};
use crate::{Answer, Snapshot};

use super::Refusal;
use super::bind::{find_holders, is_bridge};

/// Plans to let a container use functions: all of them or none.
///
/// `claims` are all claims of this machine but those of the container itself. Whether an IOMMU
/// covers a function does not matter: the host's own driver stays in charge of it.
///
/// # Errors
/// The first [`Refusal`] that stands in the way.
pub fn plan_container<'a>(
    snapshot: &Snapshot,
    claims: impl IntoIterator<Item = &'a Claim> + Clone,
    addresses: &[PciAddress],
    is_exclusive: bool,
) -> Result<Vec<Original>, Refusal> {
    let plan_one = |address: &PciAddress| {
        let function = find(snapshot, *address)?;
        refuse_others(claims.clone(), *address, is_exclusive)?;
        refuse_driver(function)?;
        Ok(Original::of(function))
    };
    addresses.iter().map(plan_one).collect()
}

fn find(snapshot: &Snapshot, address: PciAddress) -> Result<&PciFunction, Refusal> {
    let function = snapshot
        .function(address)
        .ok_or(Refusal::UnknownAddress(address))?;
    if function.is_gone() {
        return Err(Refusal::Gone(address));
    }
    if is_bridge(function)? {
        return Err(Refusal::Bridge(address));
    }
    if function.class.is_platform() {
        return Err(Refusal::Platform(address));
    }
    Ok(function)
}

fn refuse_others<'a>(
    claims: impl IntoIterator<Item = &'a Claim>,
    address: PciAddress,
    is_exclusive: bool,
) -> Result<(), Refusal> {
    let Some((owner, others)) = find_holders(claims, address) else {
        return Ok(());
    };
    match &owner.purpose {
        Purpose::Container(container) if container.exclusive => {
            Err(Refusal::Exclusive { address, owner })
        }
        Purpose::Container(_) if is_exclusive => Err(Refusal::Shared {
            address,
            owner,
            others,
        }),
        Purpose::Container(_) => Ok(()),
        Purpose::Person | Purpose::Machine(_) => Err(Refusal::Claimed { address, owner }),
    }
}

/// A function that hangs in the kernel is about to lose its driver, whatever sysfs shows.
fn refuse_driver(function: &PciFunction) -> Result<(), Refusal> {
    let address = function.address;
    if matches!(function.driver_override, Answer::CannotSee) {
        return Err(Refusal::Locked(address));
    }
    match &function.driver {
        None => Err(Refusal::NoDriver(address)),
        Some(driver) if DriverName::is_vfio(driver) => Err(Refusal::OnVfio {
            address,
            driver: driver.clone(),
        }),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::{Container, Owner};
    use crate::plan::tests::{at, bridge, function, machine};

    const GPU: &str = "01:00.0";
    const SECOND: &str = "02:00.0";

    fn two_cards() -> Snapshot {
        machine([
            bridge("00:01.0", 1),
            function(GPU, 0x03_0000, 1, Some("nvidia")),
            function(SECOND, 0x03_0000, 2, Some("nvidia")),
            function("03:00.0", 0x03_0000, 3, Some("vfio-pci")),
            function("04:00.0", 0x03_0000, 4, None),
            function("00:1f.0", 0x06_0100, 1, None),
        ])
    }

    fn owner(name: &str, exclusive: bool) -> Owner {
        let name = name.parse().unwrap();
        let user = None;
        let purpose = Purpose::Container(Container {
            name,
            exclusive,
            user,
        });
        Owner { uid: 990, purpose }
    }

    fn claim(owner: Owner, address: &str) -> Claim {
        Claim {
            owner,
            originals: vec![Original::of(&function(address, 0x03_0000, 1, None))],
            since: 0,
        }
    }

    fn plan(claims: &[Claim], addresses: &[&str], is_exclusive: bool) -> Result<usize, Refusal> {
        let addresses: Vec<PciAddress> = addresses.iter().map(|address| at(address)).collect();
        plan_container(&two_cards(), claims, &addresses, is_exclusive).map(|all| all.len())
    }

    #[test]
    fn any_number_of_containers_share_a_card() {
        let claims = [claim(owner("a", false), GPU), claim(owner("b", false), GPU)];
        assert_eq!(plan(&claims, &[GPU, SECOND], false), Ok(2));
    }

    #[test]
    fn one_alone_keeps_all_others_out_and_is_kept_out_by_them() {
        let alone = [claim(owner("a", true), GPU)];
        let address = at(GPU);
        let owner_of = owner;
        for is_exclusive in [false, true] {
            let owner = owner_of("a", true);
            let refusal = Refusal::Exclusive { address, owner };
            assert_eq!(plan(&alone, &[SECOND, GPU], is_exclusive), Err(refusal));
        }
        let shared = [claim(owner("a", false), GPU), claim(owner("b", false), GPU)];
        let refusal = Refusal::Shared {
            address,
            owner: owner("a", false),
            others: 1,
        };
        assert_eq!(plan(&shared, &[GPU], true), Err(refusal));
        assert_eq!(plan(&shared, &[SECOND], true), Ok(1));
    }

    #[test]
    fn what_a_person_or_a_machine_has_is_theirs() {
        let machine = Owner {
            uid: 1001,
            purpose: Purpose::Machine("win".parse().unwrap()),
        };
        for owner in [Owner::person(1001), machine] {
            let claims = [claim(owner.clone(), GPU)];
            let address = at(GPU);
            let refusal = Refusal::Claimed { address, owner };
            assert_eq!(plan(&claims, &[GPU], false), Err(refusal));
        }
    }

    #[test]
    fn only_functions_with_drivers_of_their_own_can_be_used() {
        let refused = |address| plan(&[], &[GPU, address], false).unwrap_err();
        assert_eq!(refused("05:00.0"), Refusal::UnknownAddress(at("05:00.0")));
        assert_eq!(refused("00:01.0"), Refusal::Bridge(at("00:01.0")));
        assert_eq!(refused("00:1f.0"), Refusal::Platform(at("00:1f.0")));
        assert_eq!(refused("04:00.0"), Refusal::NoDriver(at("04:00.0")));
        let (address, driver) = (at("03:00.0"), DriverName::vfio_pci());
        assert_eq!(refused("03:00.0"), Refusal::OnVfio { address, driver });
    }

    #[test]
    fn a_card_that_no_iommu_covers_can_be_used() {
        let mut snapshot = two_cards();
        snapshot.functions.get_mut(&at(GPU)).unwrap().iommu_group = None;
        assert!(plan_container(&snapshot, &[], &[at(GPU)], false).is_ok());
    }

    #[test]
    fn a_card_that_is_gone_or_hangs_cannot() {
        let mut snapshot = two_cards();
        let gpu = snapshot.functions.get_mut(&at(GPU)).unwrap();
        gpu.driver_override = Answer::CannotSee;
        let plan = |snapshot: &Snapshot| plan_container(snapshot, &[], &[at(GPU)], false);
        assert_eq!(plan(&snapshot), Err(Refusal::Locked(at(GPU))));
        let gpu = snapshot.functions.get_mut(&at(GPU)).unwrap();
        gpu.identity.vendor = 0xffff;
        assert_eq!(plan(&snapshot), Err(Refusal::Gone(at(GPU))));
    }
}
