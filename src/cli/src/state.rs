//! The state of a function: whether it can be had, and if not, why.

use std::collections::BTreeSet;

use vfioctl_core::Answer;
use vfioctl_core::pci::PciAddress;
use vfioctl_core::plan::{Refusal, plan_bind_by};

use crate::limits;
use crate::record::{OwnerRecord, StateKind, StateRecord};
use crate::seen::{Seen, SeenClaim};

/// Decides whether a function can be had, by the same plan that binding would make.
pub(crate) fn find_state(seen: &Seen, address: PciAddress) -> StateRecord {
    match plan_bind_by(&seen.snapshot, seen.index(), seen.known_claims(), address) {
        Ok(_) if matches!(seen.claims, Answer::CannotSee) => state(
            StateKind::ClaimsHidden,
            "passable, if nobody has claimed it",
        ),
        Ok(_) => state(StateKind::Free, "free"),
        Err(refusal) => refused(seen, address, &refusal),
    }
}

fn state(kind: StateKind, text: impl Into<String>) -> StateRecord {
    StateRecord {
        kind,
        reason: None,
        text: text.into(),
        member: None,
        owner: None,
    }
}

fn refused(seen: &Seen, address: PciAddress, refusal: &Refusal) -> StateRecord {
    let (kind, text, member) = match refusal {
        Refusal::Claimed {
            address: member, ..
        } => {
            // The plan names the first claimed function; the one that was asked for is nearer.
            let is_held = seen.claim_of(address).is_some();
            let member = if is_held { &address } else { member };
            let claim = seen.claim_of(*member);
            let is_own = claim.is_some_and(|claim| claim.is_of_person(seen.uid));
            let kind = if is_own {
                StateKind::Yours
            } else {
                StateKind::Claimed
            };
            let pinned = match seen.is_pinned(*member) {
                Some(true) => ", pinned",
                Some(false) | None => "",
            };
            let text = match claim {
                Some(_) if is_own => format!("yours{pinned}"),
                Some(claim) => format!("claimed by {}{pinned}", claim.owner_text()),
                None => "claimed".to_owned(),
            };
            (kind, text, Some(*member))
        }
        Refusal::InContainer { member, .. } => {
            let own = containers_text(seen, address).map(|text| (text, address));
            let (text, member) = own.unwrap_or_else(|| {
                let text = containers_text(seen, *member).unwrap_or_default();
                (text, *member)
            });
            (StateKind::InContainers, text, Some(member))
        }
        Refusal::NeededByHost {
            member, host_use, ..
        } => (
            StateKind::InUseByHost,
            format!("in use by the host: {host_use}"),
            Some(*member),
        ),
        Refusal::StorageHidden {
            member,
            mount_point,
        } => {
            let text = format!(
                "not passable: a disk controller, and the disk behind '{mount_point}' could not \
                 be found out"
            );
            (StateKind::NotPassable, text, Some(*member))
        }
        Refusal::HasVirtualFunctions {
            address: member,
            count,
        } => {
            let text = format!("not passable: has {count} virtual functions");
            (StateKind::NotPassable, text, Some(*member))
        }
        Refusal::Bridge(member) => (
            StateKind::NotPassable,
            "not passable: a bridge".to_owned(),
            Some(*member),
        ),
        Refusal::Platform(member) => (
            StateKind::NotPassable,
            "not passable: a host or ISA bridge".to_owned(),
            Some(*member),
        ),
        Refusal::Spoiled { member, driver, .. } => (
            StateKind::NotPassable,
            format!("not passable: {member} in its group is used by {driver}"),
            None,
        ),
        Refusal::NoGroup(member) => (
            StateKind::NotPassable,
            "not passable: no IOMMU group".to_owned(),
            Some(*member),
        ),
        Refusal::Gone(member) => (
            StateKind::NotPassable,
            "not passable: does not answer".to_owned(),
            Some(*member),
        ),
        Refusal::HeaderHidden(member) => {
            let text = "cannot see whether it is a bridge".to_owned();
            (StateKind::NotPassable, text, Some(*member))
        }
        other => (
            StateKind::NotPassable,
            format!("not passable: {other}"),
            None,
        ),
    };
    let other = member.filter(|member| *member != address);
    // What can be given to nobody can be used by containers all the same.
    let text = match containers_text(seen, address) {
        Some(used) if kind != StateKind::InContainers => format!("{text}; {used}"),
        _ => text,
    };
    let owner = match refusal {
        Refusal::Claimed {
            address: member, ..
        }
        | Refusal::InContainer { member, .. } => seen
            .claim_of(address)
            .or(seen.claim_of(*member))
            .map(OwnerRecord::of),
        _ => None,
    };
    StateRecord {
        kind,
        reason: Some(refusal.name()),
        text: match other {
            Some(other) => format!("{text} ({other} goes with it)"),
            None => text,
        },
        member: other.map(|member| member.to_string()),
        owner,
    }
}

/// Who uses a function in containers: how many, whose, and whether for itself.
fn containers_text(seen: &Seen, address: PciAddress) -> Option<String> {
    let claims = seen.containers_at(address)?;
    match claims.as_slice() {
        [] => None,
        [one] => {
            let container = one.claim.owner.container();
            let alone = container.is_some_and(|container| container.exclusive);
            let alone = if alone { " alone" } else { "" };
            Some(format!("used by {}{alone}", one.owner_text()))
        }
        several => {
            let whose: BTreeSet<String> = several.iter().map(|claim| whose(claim)).collect();
            let mut names: Vec<String> = whose.into_iter().collect();
            let more = names.len().saturating_sub(limits::NAMES_IN_A_STATE);
            names.truncate(limits::NAMES_IN_A_STATE);
            let mut text = format!(
                "used by {} containers of {}",
                several.len(),
                names.join(", ")
            );
            if more > 0 {
                text.push_str(&format!(" and {more} more"));
            }
            Some(text)
        }
    }
}

/// Whom a container runs for; without a label, its own user.
fn whose(claim: &SeenClaim) -> String {
    let label = claim
        .claim
        .owner
        .container()
        .and_then(|it| it.user.as_ref());
    match (label, &claim.user) {
        (Some(label), _) => label.to_string(),
        (None, Some(user)) => user.clone(),
        (None, None) => format!("user {}", claim.claim.owner.uid),
    }
}

#[cfg(test)]
mod tests {
    use vfioctl_core::HostUse;

    use super::*;
    use crate::sample;

    fn text(seen: &Seen, address: &str) -> String {
        find_state(seen, address.parse().unwrap()).text
    }

    #[test]
    fn each_state_has_its_words() {
        let seen = sample::desktop();
        assert_eq!(text(&seen, "0000:01:00.0"), "yours");
        assert_eq!(text(&seen, "0000:01:00.1"), "yours");
        assert_eq!(
            text(&seen, "0000:02:00.0"),
            "claimed by machine 'win' of bob"
        );
        assert_eq!(text(&seen, "0000:00:01.0"), "not passable: a bridge");
        assert_eq!(
            text(&seen, "0000:03:00.0"),
            "in use by the host: carries the disk mounted at '/'"
        );
        assert_eq!(
            text(&seen, "0000:03:00.1"),
            "in use by the host: carries the disk mounted at '/' (0000:03:00.0 goes with it)"
        );
        assert_eq!(text(&seen, "0000:04:00.0"), "not passable: no IOMMU group");
    }

    #[test]
    fn a_pin_shows_where_its_device_is_held() {
        let seen = sample::desktop_pinned();
        assert_eq!(text(&seen, "0000:01:00.1"), "yours, pinned");
        assert_eq!(text(&seen, "0000:04:00.0"), "not passable: no IOMMU group");
    }

    #[test]
    fn nothing_is_called_free_while_claims_are_hidden() {
        let mut seen = sample::desktop();
        seen.claims = Answer::CannotSee;
        assert_eq!(
            text(&seen, "0000:01:00.0"),
            "passable, if nobody has claimed it"
        );
        seen.claims = Answer::Known(Vec::new());
        assert_eq!(text(&seen, "0000:01:00.0"), "free");
    }

    #[test]
    fn containers_are_counted_and_named() {
        let mut seen = sample::desktop_shared();
        let (gpu, audio) = ("0000:02:00.0", "0000:02:00.1");
        assert_eq!(text(&seen, gpu), "used by 3 containers of bob, cid, dan");
        let goes = "used by 3 containers of bob, cid, dan (0000:02:00.0 goes with it)";
        assert_eq!(text(&seen, audio), goes);
        let state = find_state(&seen, gpu.parse().unwrap());
        assert_eq!(
            (state.kind, state.reason),
            (StateKind::InContainers, Some("InContainer"))
        );
        assert_eq!(
            state.owner.unwrap().text(),
            "container 'a' of runner for 'bob'"
        );
        // One alone, on a card that no IOMMU covers.
        assert_eq!(
            text(&seen, "0000:04:00.0"),
            "not passable: no IOMMU group; used by container 'z' of runner alone"
        );
        let Answer::Known(claims) = &mut seen.claims else {
            panic!("the helper sees claims")
        };
        for user in ["eve", "fay"] {
            claims.push(sample::container_claim(
                &seen.snapshot,
                gpu,
                user,
                Some(user),
                false,
            ));
        }
        assert_eq!(
            text(&seen, gpu),
            "used by 5 containers of bob, cid, dan and 2 more"
        );
    }

    #[test]
    fn a_program_sees_the_reason_by_its_name() {
        let mut seen = sample::desktop();
        seen.claims = Answer::Known(Vec::new());
        let network = HostUse::Network {
            interface: "eno1".into(),
        };
        seen.snapshot
            .host_uses
            .insert("0000:02:00.0".parse().unwrap(), vec![network]);
        let found = find_state(&seen, "0000:02:00.0".parse().unwrap());
        assert_eq!(
            (found.kind, found.reason),
            (StateKind::InUseByHost, Some("NeededByHost"))
        );
    }
}
