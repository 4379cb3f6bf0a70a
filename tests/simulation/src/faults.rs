//! Faults: what goes wrong, how often.

/// What goes wrong, in thousandths of the cases where it can.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// A message to a host is lost.
    pub(crate) request_lost: u64,
    /// An answer is lost, after the host did what was asked.
    pub(crate) answer_lost: u64,
    /// The longest that a message takes, in milliseconds.
    pub(crate) delay_ms: u64,
    /// The store does not answer.
    pub(crate) store_unavailable: u64,
    /// The store's answer is lost, whether it did or not.
    pub(crate) store_unknown: u64,
    /// A start fails.
    pub(crate) start_fails: u64,
    /// The engine or the helper cannot be asked.
    pub(crate) engine_unknown: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub(crate) fn none() -> Self {
        Self {
            delay_ms: 5,
            ..Self::default()
        }
    }
}

/// The faults of now; all look at the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultsNow(std::sync::Arc<std::sync::Mutex<Faults>>);

impl FaultsNow {
    pub(crate) fn get(&self) -> Faults {
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn set(&self, faults: Faults) {
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = faults;
    }
}
