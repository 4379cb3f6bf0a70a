//! The width of text on a terminal, and text that is safe to show on one.
//!
//! Names of devices are Latin with few exceptions; names of users, mount points and files may be
//! anything, also hostile.

use std::borrow::Cow;

/// Characters that take two columns: the blocks of East Asian width W and F (Unicode Standard
/// Annex 11) and of emoji.
const WIDE: &[(u32, u32)] = &[
    (0x1100, 0x115f),
    (0x2e80, 0x303e),
    (0x3041, 0xa4cf),
    (0xa960, 0xa97c),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff00, 0xff60),
    (0xffe0, 0xffe6),
    (0x1f300, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f900, 0x1f9ff),
    (0x20000, 0x3fffd),
];

/// Characters that take no column: combining marks and joiners.
const NARROW: &[(u32, u32)] = &[
    (0x0300, 0x036f),
    (0x0483, 0x0489),
    (0x0591, 0x05bd),
    (0x064b, 0x065f),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x200b, 0x200d),
    (0x20d0, 0x20ff),
    (0x3099, 0x309a),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
];

/// Characters that turn the direction of text round, and could make one name look like another.
const DIRECTION: &[(u32, u32)] = &[(0x200e, 0x200f), (0x202a, 0x202e), (0x2066, 0x2069)];

/// Columns that a text takes on a terminal.
pub(crate) fn columns(text: &str) -> usize {
    text.chars()
        .map(|character| match u32::from(character) {
            code if is_in(code, NARROW) => 0,
            code if is_in(code, WIDE) => 2,
            _ => 1,
        })
        .sum()
}

/// The text with everything escaped that would move the cursor, colour the screen or turn the
/// direction of reading.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let is_bad = |character: char| character.is_control() || is_in(u32::from(character), DIRECTION);
    if !text.chars().any(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_bad(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// The text, cut to so many columns with a mark that something is missing.
pub(crate) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if columns(text) <= most {
        return Cow::Borrowed(text);
    }
    let mut short = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += columns(character.encode_utf8(&mut [0; 4]));
        if used > most {
            break;
        }
        short.push(character);
    }
    short.truncate(short.trim_end().len());
    short.push('…');
    Cow::Owned(short)
}

fn is_in(code: u32, ranges: &[(u32, u32)]) -> bool {
    ranges
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_and_not_bytes() {
        for (text, expected) in [("", 0), ("ab", 2), ("ä", 1), ("a\u{308}", 1), ("漢字", 4)] {
            assert_eq!(columns(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_would_move_the_cursor_is_escaped() {
        assert_eq!(plain("/mnt/ä b"), "/mnt/ä b");
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(plain("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn a_shortened_text_keeps_to_its_columns() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abcde…");
        assert_eq!(shortened("漢字漢字", 6), "漢字…");
        assert_eq!(shortened("abcd efg", 6), "abcd…");
    }
}
