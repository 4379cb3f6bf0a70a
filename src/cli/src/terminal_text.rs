//! Text of others as a terminal may see it: who wrote it must not write on the terminal of the one
//! who reads it.

use crate::width::plain;

/// Text that comes piece by piece, where a character may be cut in two.
#[derive(Debug, Default)]
pub(crate) struct TerminalText {
    /// The beginning of a character whose rest has not come.
    begun: Vec<u8>,
}

impl TerminalText {
    /// The next piece, harmless.
    pub(crate) fn harmless(&mut self, bytes: &[u8]) -> String {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(text) => text.len(),
            // Without a length, what stands there may still become a character.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => whole_before_end(&self.begun),
        };
        let rest = self.begun.split_off(whole);
        let text = harmless(&self.begun);
        self.begun = rest;
        text
    }
}

/// How many bytes stand before a character that the end has cut in two.
fn whole_before_end(bytes: &[u8]) -> usize {
    // A character has four bytes at most.
    let near = bytes.len().saturating_sub(3);
    let last_begin = (near..bytes.len())
        .rev()
        .find(|at| bytes.get(*at).is_some_and(|byte| *byte >= 0xc0));
    match last_begin {
        Some(at) => match std::str::from_utf8(bytes.get(at..).unwrap_or_default()) {
            Err(error) if error.error_len().is_none() => at,
            _ => bytes.len(),
        },
        None => bytes.len(),
    }
}

/// A text without anything that would move the cursor, colour the screen or turn the direction of
/// reading. Line ends and tabs stay.
pub(crate) fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace('\r', "");
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| line.split('\t').map(plain).collect::<Vec<_>>().join("\t"))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_write_on_the_terminal() {
        assert_eq!(harmless(b"a\tb\r\n\x1b[2Jc\n"), "a\tb\n\\u{1b}[2Jc\n");
    }

    #[test]
    fn a_character_may_come_in_two_pieces() {
        let whole = "ä漢🦀";
        for cut in 0..=whole.len() {
            let mut text = TerminalText::default();
            let (first, second) = whole.as_bytes().split_at(cut);
            assert_eq!(
                text.harmless(first) + &text.harmless(second),
                whole,
                "{cut}"
            );
        }
        let mut text = TerminalText::default();
        assert_eq!(
            text.harmless(b"\xffa\xe6\xbc") + &text.harmless(b"\xa2"),
            "\u{fffd}a漢"
        );
        assert_eq!(
            TerminalText::default().harmless(b"\xff\xfe"),
            "\u{fffd}\u{fffd}"
        );
    }
}
