//! Leases in memory: when each ends, and what goes with it. No clock: it is told what time it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{LEASE_TIME, LEASES};
use crate::{Error, ErrorKind, Key, Lease, Result};

/// All leases of a table.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    granted: BTreeMap<Lease, Granted>,
    /// The same by their ends: with 10,000 of them, looking at each whenever one may have ended
    /// would be all that a store does.
    by_end: BTreeSet<(Instant, Lease)>,
    last: i64,
}

#[derive(Debug)]
struct Granted {
    time_to_live: Duration,
    ends: Instant,
    keys: BTreeSet<Key>,
}

impl Leases {
    /// None yet; the first one comes after a number, so that none is ever the same as one of before.
    pub(crate) fn after(last: i64) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// Makes a lease.
    pub(crate) fn grant(&mut self, time_to_live: Duration, now: Instant) -> Result<Lease> {
        check_time(time_to_live)?;
        if self.granted.len() >= LEASES {
            let what = format!("there are {LEASES} leases, and no more are held");
            return Err(Error::new(ErrorKind::Unavailable, what));
        }
        self.last += 1;
        let lease = Lease(self.last);
        let granted = Granted {
            time_to_live,
            ends: now + time_to_live,
            keys: BTreeSet::new(),
        };
        self.by_end.insert((granted.ends, lease));
        self.granted.insert(lease, granted);
        Ok(lease)
    }

    /// Lets a lease run for its whole time again.
    pub(crate) fn renew(&mut self, lease: Lease, now: Instant) -> Result<()> {
        let granted = self.granted.get_mut(&lease).ok_or_else(|| gone(lease))?;
        self.by_end.remove(&(granted.ends, lease));
        granted.ends = now + granted.time_to_live;
        self.by_end.insert((granted.ends, lease));
        Ok(())
    }

    /// Ends a lease; what was put under it is to be removed.
    pub(crate) fn end(&mut self, lease: Lease) -> BTreeSet<Key> {
        let Some(granted) = self.granted.remove(&lease) else {
            return BTreeSet::new();
        };
        self.by_end.remove(&(granted.ends, lease));
        granted.keys
    }

    /// Whether it has not ended.
    pub(crate) fn has(&self, lease: Lease) -> bool {
        self.granted.contains_key(&lease)
    }

    /// Lets a key go with a lease.
    pub(crate) fn attach(&mut self, lease: Lease, key: &Key) {
        if let Some(granted) = self.granted.get_mut(&lease) {
            granted.keys.insert(key.clone());
        }
    }

    /// Lets a key stay where a lease ends.
    pub(crate) fn detach(&mut self, lease: Lease, key: &Key) {
        if let Some(granted) = self.granted.get_mut(&lease) {
            granted.keys.remove(key);
        }
    }

    /// A lease whose time is over.
    pub(crate) fn due(&self, now: Instant) -> Option<Lease> {
        let (ends, lease) = self.by_end.first()?;
        (*ends <= now).then_some(*lease)
    }

    /// Whether the time of this one is over.
    pub(crate) fn is_due(&self, lease: Lease, now: Instant) -> bool {
        let granted = self.granted.get(&lease);
        granted.is_some_and(|granted| granted.ends <= now)
    }

    /// The one that ends next.
    pub(crate) fn next(&self) -> Option<Lease> {
        self.by_end.first().map(|(_, lease)| *lease)
    }

    /// When the next one ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.by_end.first().map(|(ends, _)| *ends)
    }
}

/// Refuses a time that no store grants.
pub(crate) fn check_time(time_to_live: Duration) -> Result<()> {
    if time_to_live <= LEASE_TIME {
        return Ok(());
    }
    let what = format!("a lease of {time_to_live:?} is longer than {LEASE_TIME:?}");
    Err(Error::new(ErrorKind::TooLarge, what))
}

/// That a lease has ended.
pub(crate) fn gone(lease: Lease) -> Error {
    Error::new(ErrorKind::LeaseGone, format!("lease {} has ended", lease.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_is_due_when_its_time_is_over_and_not_before() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        let short = leases.grant(SECOND, now).unwrap();
        let long = leases.grant(3 * SECOND, now).unwrap();
        assert_eq!(leases.due(now), None);
        assert_eq!(leases.due(now + SECOND), Some(short));
        leases.renew(short, now + SECOND).unwrap();
        assert_eq!(leases.due(now + SECOND), None);
        assert_eq!(leases.next_end(), Some(now + 2 * SECOND));
        leases.end(short);
        assert_eq!(leases.next_end(), Some(now + 3 * SECOND));
        assert!(leases.is_due(long, now + 3 * SECOND));
    }

    #[test]
    fn leases_are_bounded_in_time_and_number() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        let kind = |result: Result<Lease>| result.unwrap_err().kind();
        assert_eq!(kind(leases.grant(Duration::MAX, now)), ErrorKind::TooLarge);
        for _ in 0..LEASES {
            leases.grant(SECOND, now).unwrap();
        }
        assert_eq!(kind(leases.grant(SECOND, now)), ErrorKind::Unavailable);
        let first = leases.due(now + SECOND).unwrap();
        leases.end(first);
        assert_eq!(
            leases.grant(SECOND, now).map(|lease| lease > first).ok(),
            Some(true)
        );
    }
}
