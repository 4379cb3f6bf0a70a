//! Groups that someone is working on right now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use vfioctl_core::claim::Owner;
use vfioctl_core::pci::GroupId;

/// The groups that are being worked on, each with the one who works on it.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    groups: Mutex<BTreeMap<GroupId, Owner>>,
}

/// The right to work on some groups; ends when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    all: Arc<Reservations>,
    groups: Vec<GroupId>,
}

/// Someone works on a group at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Busy {
    /// The group.
    pub(crate) group: GroupId,
    /// For whom.
    pub(crate) owner: Owner,
}

impl Reservations {
    /// Takes all of the groups, or none.
    ///
    /// # Errors
    /// [`Busy`], with the one who works on one of them.
    pub(crate) fn take(
        self: &Arc<Self>,
        groups: &[GroupId],
        owner: &Owner,
    ) -> Result<Reservation, Busy> {
        let mut taken = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((group, other)) = groups
            .iter()
            .find_map(|group| taken.get(group).map(|other| (group, other)))
        {
            let (group, owner) = (*group, other.clone());
            return Err(Busy { group, owner });
        }
        taken.extend(groups.iter().map(|group| (*group, owner.clone())));
        Ok(Reservation {
            all: Arc::clone(self),
            groups: groups.to_vec(),
        })
    }

    /// Whether nothing is being worked on.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self
            .all
            .groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for group in &self.groups {
            taken.remove(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_works_there_until_the_first_has_ended() {
        let all = Arc::new(Reservations::default());
        let (alice, bob) = (Owner::person(1001), Owner::person(1002));
        let first = all.take(&[GroupId(1), GroupId(2)], &alice).unwrap();
        let refused = all.take(&[GroupId(3), GroupId(2)], &bob).unwrap_err();
        let group = GroupId(2);
        assert_eq!(
            refused,
            Busy {
                group,
                owner: alice
            }
        );
        drop(first);
        assert!(all.is_empty());
        assert!(all.take(&[GroupId(3), GroupId(2)], &bob).is_ok());
    }
}
