//! Files of a host: small texts, written whole or not at all.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Longest file that is read: a certificate or a key has a few KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The files of a folder.
#[derive(Debug)]
pub(crate) struct Files(PathBuf);

/// A file could not be read or written.
#[derive(Debug)]
pub struct FilesError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} '{}': {}",
            self.what,
            self.path.display(),
            self.source
        )
    }
}

impl std::error::Error for FilesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Files {
    /// The files of a folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Makes the folder, for nobody else's eyes.
    pub(crate) fn make_folder(&self) -> Result<(), FilesError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.0);
        made.map_err(|source| self.error("make", "", source))
    }

    /// Reads a file; none where there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, FilesError> {
        let file = match File::open(self.0.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error("read", name, error)),
        };
        let mut text = String::new();
        let read = file.take(MAX_BYTES).read_to_string(&mut text);
        read.map_err(|source| self.error("read", name, source))?;
        Ok(Some(text))
    }

    /// Writes a file that everybody may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), FilesError> {
        self.write_with(name, text, 0o644)
    }

    /// Writes a file for nobody else's eyes.
    pub(crate) fn write_secret(&self, name: &str, text: &str) -> Result<(), FilesError> {
        self.write_with(name, text, 0o600)
    }

    fn write_with(&self, name: &str, text: &str, mode: u32) -> Result<(), FilesError> {
        let path = self.0.join(name);
        let part = self.0.join(format!("{name}.new"));
        let write = || {
            // Left by one who was killed; it may have another mode.
            let _ = std::fs::remove_file(&part);
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(|source| self.error("write", name, source))
    }

    fn error(&self, what: &'static str, name: &str, source: io::Error) -> FilesError {
        FilesError {
            what,
            path: self.0.join(name),
            source,
        }
    }
}
