//! A failure: why a call ends without the answer that was asked for.

mod from_client;
mod from_host;
mod membership;

use std::error::Error;

use crate::record::ErrorRecord;
use crate::verdict::Verdict;
use crate::width::plain;

/// Why a call ends without the answer that was asked for: what, because, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    kind: FailureKind,
    name: String,
    what: String,
    because: Option<String>,
    hint: Option<String>,
}

/// What kind of failure it is, for callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The command line, or a file it names, is wrong.
    Usage,
    /// The helper cannot be asked.
    Unreachable,
    /// The helper says a clear no.
    No,
    /// Anything else.
    CouldNot,
}

impl Failure {
    /// A failure; `name` is for programs and never changes.
    pub(crate) fn new(kind: FailureKind, name: &str, what: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            what: what.into(),
            because: None,
            hint: None,
        }
    }

    /// Something could not be done.
    pub(crate) fn could_not(name: &str, what: impl Into<String>) -> Self {
        Self::new(FailureKind::CouldNot, name, what)
    }

    /// What was typed is wrong.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, "Usage", what)
    }

    /// The same with its cause.
    #[must_use]
    pub(crate) fn because(self, because: impl Into<String>) -> Self {
        Self {
            because: Some(because.into()),
            ..self
        }
    }

    /// The same with the causes of an error: each source's sentence.
    #[must_use]
    pub(crate) fn caused_by(self, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        if causes.is_empty() {
            self
        } else {
            self.because(causes.join(": "))
        }
    }

    /// The same with what to try; starts with a verb.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        Self { hint, ..self }
    }

    /// What kind it is.
    pub(crate) fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Its name for programs.
    #[cfg(test)]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the exit status says of it.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.kind {
            FailureKind::No => Verdict::No,
            FailureKind::Usage | FailureKind::Unreachable | FailureKind::CouldNot => {
                Verdict::CouldNot
            }
        }
    }

    /// The lines for a person.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("vfioctl: {}\n", plain(&self.what));
        text.push_str(&self.reasons());
        text
    }

    /// The same under another heading: for what goes on in spite of the failure.
    pub(crate) fn text_under(&self, heading: &str) -> String {
        let because = match &self.because {
            Some(because) => format!("{}: {because}", self.what),
            None => self.what.clone(),
        };
        let note = Self {
            because: Some(because),
            ..self.clone()
        };
        format!("vfioctl: {heading}\n{}", note.reasons())
    }

    fn reasons(&self) -> String {
        let mut text = String::new();
        for (word, sentence) in [("because", &self.because), ("try", &self.hint)] {
            if let Some(sentence) = sentence {
                text.push_str(&format!("  {word}: {}\n", plain(sentence)));
            }
        }
        text
    }

    /// The record for a program.
    pub(crate) fn record(&self) -> ErrorRecord {
        let message = match &self.because {
            Some(because) => format!("{}: {because}", self.what),
            None => self.what.clone(),
        };
        ErrorRecord::new(&self.name, message, self.hint.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_because_and_what_to_try() {
        let failure = Failure::could_not("X", "cannot read\u{7}")
            .because("why")
            .hint("do it");
        assert_eq!(
            failure.text(),
            "vfioctl: cannot read\\u{7}\n  because: why\n  try: do it\n"
        );
        assert_eq!(
            failure.text_under("claims are not shown"),
            "vfioctl: claims are not shown\n  because: cannot read\\u{7}: why\n  try: do it\n"
        );
    }

    #[test]
    fn only_a_clear_no_has_status_1() {
        let status = |kind| Failure::new(kind, "X", "x").verdict().status();
        assert_eq!(status(FailureKind::No), 1);
        for kind in [
            FailureKind::Usage,
            FailureKind::Unreachable,
            FailureKind::CouldNot,
        ] {
            assert_eq!(status(kind), 2);
        }
    }
}
