//! Keys: words with slashes between them: `tasks/01jd3k7x9qz4m`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A key. Clones share the text: every change is told to many.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

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
            Ok(Self(text.into()))
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

    /// Every prefix that the key is below, the one of all keys first.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices('/').map(|(slash, _)| slash + 1);
        std::iter::once(0)
            .chain(ends)
            .filter_map(|end| self.0.get(..end))
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
        Key::new(words).map(|key| Self(format!("{key}/")))
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

    /// The first text after everything that begins with this; `None` where nothing comes after.
    pub(crate) fn end(&self) -> Option<String> {
        // '0' comes after '/' (ASCII).
        self.0.strip_suffix('/').map(|words| format!("{words}0"))
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Prefix {
    fn borrow(&self) -> &str {
        &self.0
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

    #[test]
    fn a_key_is_below_each_of_its_prefixes() {
        let key = Key::new(&["tasks", "a", "log"]).unwrap();
        assert!(key.prefixes().eq(["", "tasks/", "tasks/a/"]));
    }

    #[test]
    fn a_prefix_ends_before_the_next_word() {
        let end = Prefix::new(&["a", "b"]).unwrap().end().unwrap();
        for (key, is_before) in [("a/b/~", true), ("a/b/z/z", true), ("a/b0", false)] {
            assert_eq!(key < end.as_str(), is_before, "{key}");
        }
        assert_eq!(Prefix::all().end(), None);
    }
}
