//! Any bytes as configuration space: every walk through it ends soon, and what is cut off is never
//! taken for absent.

use std::cell::Cell;

use vfioctl_core::Answer;
use vfioctl_core::config::{ConfigSpace, ExtendedCapabilityId, ReadConfig, StandardCapabilityId};
use vfioctl_core::report::redacted;

/// Double words that one walk may ask for: each capability takes one or two, there are at most 48
/// and 480 of them, and a fact adds a handful.
const MAX_READS: usize = 640;

/// The first two bytes say where the second look at the rest is cut off.
pub(crate) fn run(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let whole = Counted::new(bytes);
    let facts = whole.walk(ReadConfig::facts);
    let acs = whole.walk(ReadConfig::find_acs);
    assert_eq!(facts.bytes_seen as usize, whole.bytes_seen());
    for id in 0..=u8::MAX {
        let id = StandardCapabilityId(id);
        if let Answer::Known(Some(at)) = whole.walk(|it| it.find_capability(id)) {
            assert!(at >= 0x40 && whole.byte(at) == Some(id.0));
        }
    }
    for id in (0..=0x40).chain([0xfffe, u16::MAX]) {
        let id = ExtendedCapabilityId(id);
        if let Answer::Known(Some(at)) = whole.walk(|it| it.find_extended_capability(id)) {
            assert!(at >= 0x100 && whole.word(at) == Some(id.0));
        }
    }
    if let Answer::Known(Some(found)) = acs {
        assert_eq!(whole.word(found.control_at), Some(found.acs.control()));
    }
    let without_secrets = redacted(&whole.space);
    assert_eq!(without_secrets.len(), whole.bytes_seen());
    assert_eq!(ConfigSpace::new(without_secrets).facts(), facts);

    let length = usize::from(u16::from_le_bytes(*cut)) % ConfigSpace::MAX_BYTES;
    // Of 256 bytes the kernel says by their number that there are no more.
    if let Some(start) = bytes.get(..length)
        && length != 256
    {
        let start = Counted::new(start);
        let less = start.walk(ReadConfig::facts);
        assert_not_more(&less.header_type, &facts.header_type);
        assert_not_more(&less.multifunction_bit, &facts.multifunction_bit);
        assert_not_more(&less.pcie_type, &facts.pcie_type);
        assert_not_more(&less.acs, &facts.acs);
        assert_not_more(&start.walk(ReadConfig::find_acs), &acs);
    }
}

/// A shorter look at the same bytes knows the same, or nothing.
fn assert_not_more<T: PartialEq + std::fmt::Debug>(less: &Answer<T>, more: &Answer<T>) {
    assert!(
        matches!(less, Answer::CannotSee) || less == more,
        "{less:?} of {more:?}"
    );
}

/// Config space that counts what is asked of it.
struct Counted {
    space: ConfigSpace,
    reads: Cell<usize>,
}

impl Counted {
    fn new(bytes: &[u8]) -> Self {
        Self {
            space: ConfigSpace::new(bytes.to_vec()),
            reads: Cell::new(0),
        }
    }

    fn walk<T>(&self, walk: impl FnOnce(&Self) -> T) -> T {
        self.reads.set(0);
        let answer = walk(self);
        assert!(self.reads.get() <= MAX_READS, "{} reads", self.reads.get());
        answer
    }
}

impl ReadConfig for Counted {
    fn bytes_seen(&self) -> usize {
        self.space.bytes_seen()
    }

    fn dword(&self, at: usize) -> Option<u32> {
        self.reads.set(self.reads.get() + 1);
        self.space.dword(at)
    }
}
