//! A splice: bytes of a file that are replaced by others, while all the rest stays as it is.
//!
//! Configuration files are taken as bytes and never as text that is written anew: what this crate
//! does not understand (other encodings, line ends, odd spaces) then comes out as it went in.

use std::ops::Range;

/// Bytes of a file, and what stands in their place afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Splice {
    /// What goes; empty where something is only put in.
    pub(crate) range: Range<usize>,
    /// What comes.
    pub(crate) by: Vec<u8>,
}

impl Splice {
    /// Something put in at one place.
    pub(crate) fn insert(at: usize, by: impl Into<Vec<u8>>) -> Self {
        Self {
            range: at..at,
            by: by.into(),
        }
    }
}

/// The bytes with every splice in its place. Splices do not overlap; one that does, or that lies
/// outside, is left out.
pub(crate) fn spliced(bytes: &[u8], mut splices: Vec<Splice>) -> Vec<u8> {
    splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
    let mut result = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for splice in splices {
        let Some(kept) = bytes.get(done..splice.range.start) else {
            continue;
        };
        result.extend_from_slice(kept);
        result.extend_from_slice(&splice.by);
        done = splice.range.end;
    }
    result.extend_from_slice(bytes.get(done..).unwrap_or_default());
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_stays_byte_for_byte() {
        let splices = vec![
            Splice::insert(6, *b"!"),
            Splice {
                range: 1..3,
                by: b"X".to_vec(),
            },
        ];
        assert_eq!(spliced(b"a\xff\xfe\r\n\0z", splices), b"aX\r\n\0!z");
        assert_eq!(spliced(b"abc", Vec::new()), b"abc");
    }
}
