//! An edit: one file as it was seen and as it shall be.

use crate::facts::{Refresh, TextFile};
use crate::limits::MAX_CHANGED_LINES;

/// Mode of a new file that is read.
const MODE: u32 = 0o644;

/// One file as it was seen and as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub(crate) path: String,
    /// What was seen; `None`: no such file.
    pub(crate) before: Option<Vec<u8>>,
    pub(crate) after: Vec<u8>,
    /// Mode of the file where it is new; another keeps its own.
    pub(crate) mode: u32,
    /// What changes, as sentences.
    pub(crate) said: Vec<String>,
    pub(crate) refresh: Option<Refresh>,
}

impl Edit {
    /// A file that is not there yet, with a sentence on what it is for.
    pub(crate) fn create(path: &str, after: impl Into<Vec<u8>>, said: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            before: None,
            after: after.into(),
            mode: MODE,
            said: vec![said.into()],
            refresh: None,
        }
    }

    /// A file that is there.
    pub(crate) fn change(file: &TextFile, after: Vec<u8>, said: Vec<String>) -> Self {
        Self {
            path: file.path.clone(),
            before: Some(file.bytes.clone()),
            after,
            mode: MODE,
            said,
            refresh: None,
        }
    }

    /// A file that has this content for sure: created, or changed where it has another.
    pub(crate) fn whole(
        path: &str,
        file: Option<&TextFile>,
        after: impl Into<Vec<u8>>,
        said: impl Into<String>,
    ) -> Option<Self> {
        let created = Self::create(path, after, said);
        match file {
            Some(file) if file.bytes == created.after => None,
            file => Some(Self {
                before: file.map(|file| file.bytes.clone()),
                ..created
            }),
        }
    }

    /// The same, brought into effect by a program.
    #[must_use]
    pub(crate) fn then(self, refresh: Refresh) -> Self {
        Self {
            refresh: Some(refresh),
            ..self
        }
    }

    /// The file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the file is not there yet.
    pub fn is_new(&self) -> bool {
        self.before.is_none()
    }

    /// The edit as a sentence.
    pub fn text(&self) -> String {
        let verb = if self.is_new() { "write" } else { "edit" };
        format!("{verb} {}: {}", self.path, self.said.join("; "))
    }

    /// The lines that go and come, with `-` and `+` before them.
    pub fn changed_lines(&self) -> Vec<String> {
        let before = self.before.as_deref().unwrap_or_default();
        let split = |bytes: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(bytes);
            text.lines().map(str::to_owned).collect()
        };
        let (mut old, mut new) = (split(before), split(&self.after));
        // A line that stays stays in its place: the edits of this crate move nothing.
        if old.len() == new.len() {
            let pairs = old.into_iter().zip(new);
            (old, new) = pairs.filter(|(old, new)| old != new).unzip();
        } else {
            let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
            old.drain(..same);
            new.drain(..same);
        }
        let old = old.into_iter().map(|line| format!("- {line}"));
        let new = new.into_iter().map(|line| format!("+ {line}"));
        let mut lines: Vec<String> = old.chain(new).collect();
        if lines.len() > MAX_CHANGED_LINES {
            lines.truncate(MAX_CHANGED_LINES);
            lines.push("...".to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_shows_the_lines_that_change() {
        let file = TextFile {
            path: "/etc/x".to_owned(),
            bytes: b"a\nb\nc\n".to_vec(),
        };
        let edit = Edit::change(&file, b"a\nB\nc\n".to_vec(), vec!["x".to_owned()]);
        assert_eq!(edit.changed_lines(), ["- b", "+ B"]);
        assert_eq!(edit.text(), "edit /etc/x: x");
        let edit = Edit::change(&file, b"a\nb\nc\nd\n".to_vec(), Vec::new());
        assert_eq!(edit.changed_lines(), ["+ d"]);
        let edit = Edit::create("/etc/y", *b"a\n", "for z");
        assert_eq!(edit.changed_lines(), ["+ a"]);
        assert_eq!(edit.text(), "write /etc/y: for z");
    }

    #[test]
    fn a_file_that_has_its_content_is_not_written_again() {
        let file = TextFile {
            path: "/etc/x".to_owned(),
            bytes: b"a\n".to_vec(),
        };
        assert_eq!(Edit::whole("/etc/x", Some(&file), *b"a\n", "x"), None);
        let edit = Edit::whole("/etc/x", Some(&file), *b"b\n", "x");
        assert_eq!(edit.and_then(|edit| edit.before), Some(b"a\n".to_vec()));
    }
}
