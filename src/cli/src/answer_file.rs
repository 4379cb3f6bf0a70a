//! An answer that goes to a file: whole or not at all.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::failure::Failure;

/// Writes a file beside its place and then puts it there, so that nobody sees half of it and an
/// older one stays until the new one is there. A link is followed.
///
/// # Errors
/// Where something that is no file stands in its place, or it cannot be written.
pub(crate) fn write_answer_file(path: &Path, text: &str) -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        Failure::could_not(
            "CannotWrite",
            format!("cannot write the file '{}'", path.display()),
        )
        .because(error.to_string())
        .hint("name a file in a folder that you may write to, or '-' for standard output")
    };
    let place = match fs::canonicalize(path) {
        Ok(place) => place,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(cannot(error)),
    };
    match fs::metadata(&place) {
        Ok(found) if found.is_dir() => return Err(cannot(io::ErrorKind::IsADirectory.into())),
        // A rename would replace a device node, also as root.
        Ok(found) if !found.is_file() => {
            return Err(cannot(io::Error::other("it is a device or a pipe")));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(error)),
    }
    let Some(name) = place.file_name() else {
        return Err(cannot(io::ErrorKind::IsADirectory.into()));
    };
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}", std::process::id()));
    let beside = place.with_file_name(beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&beside)
        .map_err(cannot)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, &place));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        cannot(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_older_file_is_replaced_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.svg");
        for text in ["one, which is longer", "two"] {
            write_answer_file(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["a.svg"]);
    }

    #[test]
    fn a_folder_a_device_and_a_missing_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        for name in ["below", "none/a.svg", "..", "/dev/null"] {
            let failure = write_answer_file(&folder.path().join(name), "x").unwrap_err();
            assert_eq!(failure.name(), "CannotWrite", "{name}");
        }
        assert_eq!(names(folder.path()), ["below"]);
    }

    #[test]
    fn a_link_keeps_being_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_answer_file(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
