//! A fact that this process may not have been allowed to see.

/// A fact, or the knowledge that it could not be seen.
///
/// An unprivileged reader gets 64 of 4096 bytes of config space without any error
/// (`drivers/pci/pci-sysfs.c`, `pci_read_config`), so "no ACS capability" and "no permission to
/// look" would be the same `None`. They are not the same here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer<T> {
    /// The fact was seen.
    Known(T),
    /// The fact exists or not, but this process cannot see which.
    CannotSee,
}

impl<T> Answer<T> {
    /// The fact, where it was seen.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(fact) => Some(fact),
            Self::CannotSee => None,
        }
    }

    /// A view of the fact that leaves the answer in place.
    pub fn as_ref(&self) -> Answer<&T> {
        match self {
            Self::Known(fact) => Answer::Known(fact),
            Self::CannotSee => Answer::CannotSee,
        }
    }

    /// The answer about something that follows from the fact.
    pub fn map<U>(self, follow: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Known(fact) => Answer::Known(follow(fact)),
            Self::CannotSee => Answer::CannotSee,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_stays_unseen_when_mapped() {
        let hidden: Answer<u8> = Answer::CannotSee;
        assert_eq!(hidden.map(|byte| byte + 1), Answer::CannotSee);
        assert_eq!(Answer::Known(1_u8).map(|byte| byte + 1), Answer::Known(2));
    }
}
