//! Places for connections, in all and for each user.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{MAX_CONNECTIONS, MAX_CONNECTIONS_A_USER};

/// How many connections each user has.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: Mutex<BTreeMap<u32, usize>>,
}

/// One connection's place; ends when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    all: Arc<Slots>,
    uid: u32,
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a user's connection, where one is free.
    pub(super) fn take(self: &Arc<Self>, uid: u32) -> Option<Slot> {
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.entry(uid).or_default();
        // Root can always look: it is the one who mends things.
        if uid != 0 && (all >= MAX_CONNECTIONS || *own >= MAX_CONNECTIONS_A_USER) {
            return None;
        }
        if all >= MAX_CONNECTIONS * 2 {
            return None;
        }
        *own += 1;
        Some(Slot {
            all: Arc::clone(self),
            uid,
        })
    }

    /// Whether there is no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.all.lock();
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_the_places_of_others() {
        let slots = Arc::new(Slots::default());
        let of_one: Vec<Slot> = std::iter::repeat_with(|| slots.take(1001))
            .map_while(|slot| slot)
            .collect();
        assert_eq!(of_one.len(), MAX_CONNECTIONS_A_USER);
        assert!(slots.take(1002).is_some());
        drop(of_one);
        assert!(slots.is_empty());
    }

    #[test]
    fn all_users_together_leave_room_for_root() {
        let slots = Arc::new(Slots::default());
        let many: Vec<Slot> = (1000..2000).filter_map(|uid| slots.take(uid)).collect();
        assert_eq!(many.len(), MAX_CONNECTIONS);
        assert!(slots.take(0).is_some());
    }
}
