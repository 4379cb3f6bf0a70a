//! `/etc/vfioctl/vfioctl.toml`. The file is one for all programs of vfioctl, and each looks at its own
//! table.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use serde::de::DeserializeOwned;

/// Where the file lies, unless told otherwise.
pub const PATH: &str = "/etc/vfioctl/vfioctl.toml";
/// Longest file that is read: it has a few lines.
const MAX_BYTES: u64 = 64 << 10;

/// What is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationError(String);

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigurationError {}

/// Reads the file, with what makes something of its text; where there is none, everything is as it is by
/// itself.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read<T: Default>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ConfigurationError> {
    let shown = path.display();
    let unread =
        |error: std::io::Error| ConfigurationError(format!("cannot read '{shown}': {error}"));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(unread(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(unread)?;
    parse(&text)
        .map_err(|because| ConfigurationError(format!("'{shown}' is not understood: {because}")))
}

/// Makes something of the file's text.
///
/// # Errors
/// The line, and what is wrong with it.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("line {line}: {}", error.message())
    })
}
