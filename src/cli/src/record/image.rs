//! Records of base images.

use serde::Serialize;
use vfioctl_image::{Firmware, Image, Listing, Origin};

/// The answers of `vfioctl image`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum ImagesRecord {
    /// `image import`, `image create`.
    One {
        /// The image.
        image: ImageRecord,
    },
    /// `image list`.
    Many(ImageListRecord),
    /// The same with `--plan`, and `image rm --plan`.
    Plan {
        /// The plan.
        plan: ImagePlanRecord,
    },
    /// `image rm`.
    Removed {
        /// Name of the image that is gone.
        removed: String,
    },
}

/// `image list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ImageListRecord {
    /// The images, by name.
    pub(crate) images: Vec<ImageRecord>,
    /// What is in the folder and cannot be used, as sentences.
    pub(crate) problems: Vec<String>,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ImagePlanRecord {
    /// The steps, as sentences.
    pub(crate) steps: Vec<String>,
}

/// A base image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ImageRecord {
    /// Its name.
    pub(crate) name: String,
    /// The path of its file.
    pub(crate) path: String,
    /// How the file is laid out.
    pub(crate) format: &'static str,
    /// Size of its disk.
    pub(crate) disk_bytes: u64,
    /// Size of its file.
    pub(crate) file_bytes: u64,
    /// SHA-256 of its file.
    pub(crate) sha256: String,
    /// When it came into the folder, in seconds since 1970.
    pub(crate) created: u64,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// What it boots with.
    pub(crate) firmware: Firmware,
    /// What it has installed, where that is known.
    pub(crate) distribution: Option<String>,
    /// Whether it has cloud-init, where that is known.
    pub(crate) cloud_init: Option<bool>,
}

impl From<Image> for ImageRecord {
    fn from(image: Image) -> Self {
        let record = image.record;
        Self {
            name: image.name.to_string(),
            path: image.path.to_string_lossy().into_owned(),
            format: "qcow2",
            disk_bytes: record.disk_bytes,
            file_bytes: record.file_bytes,
            sha256: record.sha256,
            created: record.created,
            origin: record.origin,
            firmware: record.firmware,
            distribution: record.distribution,
            cloud_init: record.cloud_init,
        }
    }
}

impl From<Listing> for ImageListRecord {
    fn from(listing: Listing) -> Self {
        Self {
            images: listing.images.into_iter().map(Into::into).collect(),
            problems: listing.problems,
        }
    }
}
