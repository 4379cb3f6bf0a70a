//! Chance that can be repeated.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vfioctl_host::cluster::ChanceSource;

/// Chance that can be repeated: SplitMix64, whose every seed is a good one (Steele, Lea, Flood:
/// "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Chance(Arc<Mutex<u64>>);

impl Chance {
    pub(crate) fn of(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// Another source, which goes its own way from here.
    pub(crate) fn split(&self) -> Self {
        Self::of(self.next())
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit.
    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn in_thousand(&self, cases: u64) -> bool {
        self.below(1000) < cases
    }

    /// A time up to a limit.
    pub(crate) fn time(&self, up_to_ms: u64) -> Duration {
        Duration::from_millis(self.below(up_to_ms + 1))
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(from.len() as u64)).ok()?;
        from.get(index)
    }
}

impl ChanceSource for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            chunk.copy_from_slice(number.get(..chunk.len()).unwrap_or_default());
        }
    }
}
