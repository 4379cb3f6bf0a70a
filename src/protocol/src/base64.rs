//! Bytes as text: base64 (RFC 4648, section 4), with padding.
//!
//! Logs are bytes of a guest's and may be anything; a JSON string must be Unicode.

use std::fmt;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidBase64;

impl fmt::Display for InvalidBase64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not base64")
    }
}

impl std::error::Error for InvalidBase64 {}

/// Writes bytes as text.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| chunk.get(index).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        // A chunk of n bytes fills n + 1 characters.
        for index in 0..4 {
            let six = (bits >> (18 - 6 * index)) & 0x3f;
            let letter = usize::try_from(six).ok().and_then(|six| ALPHABET.get(six));
            match letter {
                Some(letter) if index <= chunk.len() => text.push(char::from(*letter)),
                _ => text.push('='),
            }
        }
    }
    text
}

/// Reads bytes back.
///
/// # Errors
/// [`InvalidBase64`], for anything that [`encode`] does not write.
pub fn decode(text: &str) -> Result<Vec<u8>, InvalidBase64> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    if !text.len().is_multiple_of(4) {
        return Err(InvalidBase64);
    }
    let mut chunks = text.as_bytes().chunks(4).peekable();
    while let Some(chunk) = chunks.next() {
        let padding = chunk.iter().rev().take_while(|byte| **byte == b'=').count();
        let letters = chunk.get(..4 - padding).unwrap_or_default();
        // Padding ends the text, and leaves two characters at least.
        if padding > 2 || (padding > 0 && chunks.peek().is_some()) {
            return Err(InvalidBase64);
        }
        let mut bits = 0_u32;
        for letter in letters {
            let six = ALPHABET.iter().position(|known| known == letter);
            let six = six.and_then(|six| u32::try_from(six).ok());
            bits = bits << 6 | six.ok_or(InvalidBase64)?;
        }
        bits <<= 6 * padding;
        let [_, first, second, third] = bits.to_be_bytes();
        let all = [first, second, third];
        let (kept, rest) = all.split_at(3 - padding);
        // Bits that stand for nothing are none.
        if rest.iter().any(|byte| *byte != 0) {
            return Err(InvalidBase64);
        }
        bytes.extend(kept);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_standard_hold() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text), Ok(bytes.into()));
        }
    }

    #[test]
    fn every_byte_survives_the_journey() {
        let all: Vec<u8> = (0..=255).chain(0..=255).collect();
        for len in 0..all.len() {
            let bytes = &all[len / 2..len];
            assert_eq!(decode(&encode(bytes)), Ok(bytes.to_vec()));
        }
    }

    #[test]
    fn what_is_not_written_is_not_read() {
        for text in [
            "Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Zm 9", "Zm9_", "Zm9v\n",
            "Zä==", "=Zm9",
        ] {
            assert_eq!(decode(text), Err(InvalidBase64), "{text:?}");
        }
    }
}
