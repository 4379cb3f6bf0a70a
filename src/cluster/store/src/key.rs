//! Keys: words with slashes between them: `tasks/01jd3k7x9qz4m`.

use std::fmt;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// What keys begin with: whole words, and a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

/// The words cannot be a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidKey(String);

impl Key {
    /// Longest key. The longest word of ours is a name of 63 bytes.
    pub const MAX_LEN: usize = 255;

    /// Makes a key of words.
    ///
    /// # Errors
    /// Where a word is empty or has a slash or a control character in it, or all is too long.
    pub fn new(words: &[&str]) -> Result<Self, InvalidKey> {
        let text = words.join("/");
        let is_word = |word: &&str| {
            !word.is_empty() && !word.contains('/') && !word.chars().any(char::is_control)
        };
        if !words.is_empty() && words.iter().all(is_word) && text.len() <= Self::MAX_LEN {
            Ok(Self(text))
        } else {
            Err(InvalidKey(text))
        }
    }

    /// Reads a key that a store has.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let words: Vec<&str> = text.split('/').collect();
        Self::new(&words)
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last word.
    pub fn last_word(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl Prefix {
    /// Makes a prefix of whole words.
    ///
    /// # Errors
    /// See [`Key::new`].
    pub fn new(words: &[&str]) -> Result<Self, InvalidKey> {
        Key::new(words).map(|key| Self(key.0 + "/"))
    }

    /// What every key begins with: nothing.
    pub fn all() -> Self {
        Self(String::new())
    }

    /// The text that keys begin with.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key begins with this.
    pub fn is_of(&self, key: &Key) -> bool {
        key.0.starts_with(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' cannot be a key", self.0.escape_debug())
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_cannot_be_two() {
        for words in [&[][..], &[""], &["a", ""], &["a/b"], &["a", "b\n"]] {
            assert!(Key::new(words).is_err(), "{words:?}");
        }
        let key = Key::new(&["tasks", "a"]).unwrap();
        assert!(Prefix::new(&["tasks"]).unwrap().is_of(&key));
        assert!(
            !Prefix::new(&["task"]).unwrap().is_of(&key),
            "whole words only"
        );
        assert!(Prefix::all().is_of(&key));
        assert_eq!(Key::parse(key.as_str()), Ok(key));
    }
}
