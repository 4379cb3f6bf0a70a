//! Text of others as a terminal may see it: who wrote it must not write on the terminal of the one
//! who reads it.

use crate::width::plain;

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
}
