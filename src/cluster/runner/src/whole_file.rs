//! Files that are written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a file; it is on disk when this returns, and until then there is what there was before.
///
/// # Errors
/// Where it cannot be written: no room, no right.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let part = path.with_extension("new");
    let write = || {
        // What a runner that was killed while it wrote has left may have another mode.
        let _ = std::fs::remove_file(&part);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().inspect_err(|_| {
        // Half a file is worth nothing, and the disk may be full.
        let _ = std::fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_of_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(folder.path().join("a.new"), "half").unwrap();
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        // A folder cannot be replaced by a file.
        let taken = folder.path().join("b");
        std::fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write(&taken, b"x", 0o600).is_err());
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["a.json", "b"]);
    }
}
