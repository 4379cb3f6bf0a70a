//! The lab's error: what was attempted, and why it did not happen.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

/// The result of anything that the lab does.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what the lab could not do. The cause is the source.
pub struct Error {
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    logs: String,
    is_crash: bool,
}

impl Error {
    /// Makes an error that has no cause but itself.
    pub fn new(message: impl Into<String>) -> Self {
        Error {
            message: message.into(),
            source: None,
            logs: String::new(),
            is_crash: false,
        }
    }

    /// Says that the emulator ended before the machine in it did anything.
    pub(crate) fn of_crash(mut self, is_crash: bool) -> Self {
        self.is_crash = is_crash;
        self
    }

    /// Whether the emulator ended before the machine in it did anything.
    pub(crate) fn is_crash(&self) -> bool {
        self.is_crash
    }

    /// Adds what is in the machine's logs, for that is where the reason stands.
    pub(crate) fn with_logs(mut self, folder: &Path) -> Self {
        for name in ["stderr", "console"] {
            let path = folder.join(name);
            let text = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = lines
                .get(lines.len().saturating_sub(8)..)
                .unwrap_or_default();
            self.logs += &format!("\n--- {}\n{}", path.display(), last.join("\n"));
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        // The chain is shown here, because a test does not walk it.
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        f.write_str(&self.logs)
    }
}

/// As Display: this is what a test that unwraps shows, and it should be readable.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Names what was attempted when a step fails.
pub(crate) trait Wrap<T> {
    fn wrap(self, attempt: &str) -> Result<T>;
    fn wrap_path(self, attempt: &str, path: &Path) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Wrap<T> for std::result::Result<T, E> {
    fn wrap(self, attempt: &str) -> Result<T> {
        self.map_err(|source| Error {
            message: attempt.into(),
            source: Some(source.into()),
            logs: String::new(),
            is_crash: false,
        })
    }

    fn wrap_path(self, attempt: &str, path: &Path) -> Result<T> {
        self.map_err(|source| Error {
            message: format!("{attempt} {}", path.display()),
            source: Some(source.into()),
            logs: String::new(),
            is_crash: false,
        })
    }
}
