//! Writing a folder, and listing it whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

/// Everything below a folder: path, and in words what is there.
pub type Listing = BTreeMap<String, String>;

/// Lists some folders of a folder whole: kind, owner, mode, content, target of links.
pub fn list(root: &Path, folders: &[&str]) -> Listing {
    let mut listing = Listing::new();
    for folder in folders {
        walk(root, folder, &mut listing);
    }
    listing
}

fn walk(root: &Path, path: &str, listing: &mut Listing) {
    let whole = root.join(path);
    let Ok(metadata) = fs::symlink_metadata(&whole) else {
        return;
    };
    let (kind, rest) = if metadata.is_symlink() {
        let target = fs::read_link(&whole).unwrap();
        ("link", target.to_string_lossy().into_owned())
    } else if metadata.is_dir() {
        ("folder", String::new())
    } else {
        let content = fs::read(&whole).unwrap();
        ("file", content.escape_ascii().to_string())
    };
    let (mode, uid) = (metadata.mode() & 0o7777, metadata.uid());
    listing.insert(path.to_owned(), format!("{kind} {mode:o} {uid} {rest}"));
    if kind == "folder" {
        for entry in fs::read_dir(&whole).unwrap() {
            let name = entry.unwrap().file_name();
            walk(root, &format!("{path}/{}", name.to_string_lossy()), listing);
        }
    }
}

/// Writes a file, and the folders above it.
pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Whole or not at all: another process reads it at the same time.
    let temporary = path.with_extension("being-written");
    fs::write(&temporary, content).unwrap();
    fs::rename(&temporary, path).unwrap();
}

/// Makes a link, and the folders above it.
pub(super) fn link(target: &str, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

/// Removes a file or link; it is no error where there is none.
pub(super) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            panic!("remove {}: {error}", path.display())
        }
        _ => {}
    }
}

/// Sets the mode of something.
pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The lines of a file; none where there is no file.
pub(super) fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
