//! `/proc/self/limits`: how much memory a process of this user may lock.

use vfioctl_core::Answer;
use vfioctl_core::check::MemoryLock;

use crate::SysRoot;

pub(super) fn read_memory_lock(root: &SysRoot) -> Answer<MemoryLock> {
    let text = super::seen(root.proc.read_text("self/limits")).known();
    match text.as_deref().and_then(parse_limits) {
        Some(limit) => Answer::Known(limit),
        None => Answer::CannotSee,
    }
}

/// The line is `Max locked memory  SOFT  HARD  bytes`.
fn parse_limits(text: &str) -> Option<MemoryLock> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    let mut words = line.split_whitespace();
    let soft_bytes = parse_limit(words.next()?)?;
    let hard_bytes = parse_limit(words.next()?)?;
    Some(MemoryLock {
        soft_bytes,
        hard_bytes,
    })
}

/// The outer `None` is a word that is no limit, the inner one no limit at all.
fn parse_limit(word: &str) -> Option<Option<u64>> {
    match word {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_unlimited_are_read() {
        let text = "Limit  Soft Limit  Hard Limit  Units\n\
                    Max locked memory         8388608              unlimited            bytes\n";
        let limit = MemoryLock {
            soft_bytes: Some(8_388_608),
            hard_bytes: None,
        };
        assert_eq!(parse_limits(text), Some(limit));
        assert_eq!(parse_limits("Max locked memory  many  8 bytes"), None);
        assert_eq!(parse_limits(""), None);
    }
}
