//! The base images of a node.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use vfioctl_api::{ImageName, VmImage};
use vfioctl_image::{ErrorKind, Image, Library};

/// The base images of a node.
#[derive(Debug)]
pub(super) struct Images {
    library: Library,
    /// The one that machines get where none is named.
    default: Option<ImageName>,
    /// What was found last, and in which state of the folder.
    found: Mutex<Option<(Stamp, Found)>>,
}

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) images: Vec<VmImage>,
    pub(super) default: Option<ImageName>,
    /// What is not well, as sentences.
    pub(super) problems: Vec<String>,
}

/// Tells one state of a folder from another: images are put there and removed by their names.
type Stamp = (u64, i64, i64);

impl Images {
    /// Those in a folder.
    pub(super) fn in_folder(folder: Option<PathBuf>, default: Option<ImageName>) -> Self {
        let folder = folder.unwrap_or_else(|| PathBuf::from(Library::DEFAULT_FOLDER));
        Self {
            library: Library::at(folder, None),
            default,
            found: Mutex::default(),
        }
    }

    /// What there is; the folder is read where it has changed.
    pub(super) fn look(&self) -> Found {
        let stamp = self.stamp();
        let mut last = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(stamp), Some((seen, found))) = (stamp, last.as_ref())
            && stamp == *seen
        {
            return found.clone();
        }
        let found = self.read();
        *last = stamp.map(|stamp| (stamp, found.clone()));
        found
    }

    fn stamp(&self) -> Option<Stamp> {
        let folder = std::fs::metadata(self.library.folder()).ok()?;
        Some((folder.ino(), folder.mtime(), folder.mtime_nsec()))
    }

    fn read(&self) -> Found {
        let listing = match self.library.list() {
            Ok(listing) => listing,
            Err(error) => {
                return Found {
                    problems: vec![sentence(&error)],
                    ..Found::default()
                };
            }
        };
        let images: Vec<VmImage> = listing
            .images
            .iter()
            .filter_map(|image| {
                Some(VmImage {
                    name: image.name.as_str().parse().ok()?,
                    virtual_bytes: image.record.disk_bytes,
                    bytes: image.record.file_bytes,
                })
            })
            .collect();
        let mut problems = listing.problems;
        let default = match &self.default {
            Some(name) if images.iter().any(|image| image.name == *name) => Some(name.clone()),
            Some(name) => {
                problems.push(format!(
                    "'[runner.machines] default_image' is '{name}', and there is no such image in '{}'",
                    self.library.folder().display()
                ));
                None
            }
            // Where there is but one, it is what is meant.
            None => match images.as_slice() {
                [image] => Some(image.name.clone()),
                _ => None,
            },
        };
        if images.is_empty() {
            problems.push(format!(
                "there is no base image for machines in '{}': make one with \
                 'vfioctl image create --from-packages', or import one with 'vfioctl image import'",
                self.library.folder().display()
            ));
        }
        Found {
            images,
            default,
            problems,
        }
    }

    /// An image, or the default.
    ///
    /// # Errors
    /// Why there is none, as a sentence that names those there are.
    pub(super) fn find(&self, name: Option<&ImageName>) -> Result<Image, String> {
        let found = self.look();
        let Some(name) = name.or(found.default.as_ref()) else {
            return Err(format!(
                "no image is named, and the node has no default one; {}",
                those_there_are(&found.images)
            ));
        };
        let none = || {
            format!(
                "the node has no image '{name}'; {}",
                those_there_are(&found.images)
            )
        };
        let parsed = name.as_str().parse().map_err(|_| none())?;
        self.library
            .find(&parsed)
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => none(),
                _ => sentence(&error),
            })
    }
}

fn those_there_are(images: &[VmImage]) -> String {
    if images.is_empty() {
        return "it has none at all".to_owned();
    }
    let names: Vec<String> = images
        .iter()
        .map(|image| format!("'{}'", image.name))
        .collect();
    format!("it has {}", names.join(", "))
}

/// An error of images with its cause and its advice, as one sentence.
pub(super) fn sentence(error: &vfioctl_image::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    let hint = error.hint().map(|hint| format!("; {hint}"));
    format!(
        "{error}{}{}",
        cause.unwrap_or_default(),
        hint.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Puts an image there, as far as a list looks.
    pub(super) fn put(folder: &std::path::Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.qcow2")), "1234").unwrap();
        let record = json!({
            "schema": 1, "name": name, "disk_bytes": 8_u64 << 30, "file_bytes": 4, "sha256": "",
            "created": 0, "origin": {"kind": "file", "file": "a", "format": "raw"},
            "firmware": "any", "distribution": null, "cloud_init": null,
        });
        std::fs::write(folder.join(format!("{name}.json")), record.to_string()).unwrap();
    }

    fn names(found: &Found) -> Vec<String> {
        found
            .images
            .iter()
            .map(|image| image.name.to_string())
            .collect()
    }

    #[test]
    fn the_only_image_is_the_default_and_a_named_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let images = |default: Option<&str>| {
            let default = default.map(|name| name.parse().unwrap());
            Images::in_folder(Some(folder.path().to_owned()), default)
        };
        let empty = images(None).look();
        assert_eq!(
            (names(&empty), empty.default, empty.problems.len()),
            (vec![], None, 1)
        );
        put(folder.path(), "debian-12");
        let one = images(None);
        assert_eq!(one.look().default.unwrap().as_str(), "debian-12");
        assert_eq!(one.look().images[0].virtual_bytes, 8 << 30);
        assert_eq!(one.find(None).unwrap().name.as_str(), "debian-12");
        put(folder.path(), "ubuntu-22.04");
        assert_eq!(names(&one.look()), ["debian-12", "ubuntu-22.04"]);
        assert_eq!(one.look().default, None);
        let named = images(Some("ubuntu-22.04"));
        assert_eq!(named.find(None).unwrap().name.as_str(), "ubuntu-22.04");
        let gone = images(Some("none")).look();
        assert_eq!((gone.default, gone.problems.len()), (None, 1));
    }

    #[test]
    fn who_asks_for_what_is_not_there_is_told_what_is() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::in_folder(Some(folder.path().to_owned()), None);
        let find = |name: &str| images.find(name.parse().ok().as_ref()).unwrap_err();
        assert_eq!(
            find("win"),
            "the node has no image 'win'; it has none at all"
        );
        put(folder.path(), "a");
        put(folder.path(), "b");
        assert_eq!(find("win"), "the node has no image 'win'; it has 'a', 'b'");
        // A name that the cluster knows and a folder of images does not.
        assert_eq!(find("a_b"), "the node has no image 'a_b'; it has 'a', 'b'");
        assert_eq!(
            images.find(None).unwrap_err(),
            "no image is named, and the node has no default one; it has 'a', 'b'"
        );
        std::fs::write(folder.path().join("a.qcow2"), "other").unwrap();
        assert!(find("a").starts_with("the image 'a' cannot be used: "));
    }
}
