//! Block nodes: how a file or a block device becomes a `-blockdev` of QEMU.
//!
//! A node is given as JSON, so a path with commas, quotes or `=` in it stays one value; and its
//! driver is always named, so QEMU never guesses a format from bytes a guest has written.
//! <https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html>, `BlockdevOptions`.

use std::path::Path;

use serde::Serialize;
use vfioctl_core::machine::{Disk, DiskFormat, FilePath};

/// A node for `-blockdev`: a format on top of a file.
///
/// The fields are written in this order whatever features other crates turn on in serde_json, so
/// command lines can be compared.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BlockNode<'a> {
    node_name: &'a str,
    driver: &'static str,
    read_only: bool,
    discard: &'static str,
    file: FileNode<'a>,
}

/// The file below a format. It takes `read-only` from the node above it; `discard` has to be said to
/// both, and where it is not, their defaults differ.
#[derive(Debug, Serialize)]
struct FileNode<'a> {
    driver: &'static str,
    filename: &'a str,
    discard: &'static str,
}

impl<'a> BlockNode<'a> {
    /// Describes a disk.
    pub(crate) fn of_disk(node_name: &'a str, disk: &'a Disk) -> Self {
        let driver = match disk.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        };
        Self::new(node_name, driver, disk.read_only, &disk.path)
    }

    /// Describes a flash image of firmware, which is always plain bytes.
    pub(crate) fn of_flash(node_name: &'a str, path: &'a FilePath, read_only: bool) -> Self {
        Self::new(node_name, "raw", read_only, path)
    }

    fn new(node_name: &'a str, driver: &'static str, read_only: bool, path: &'a FilePath) -> Self {
        let file_driver = if is_device_path(path) {
            "host_device"
        } else {
            "file"
        };
        Self {
            node_name,
            driver,
            read_only,
            // Blocks the guest gives up are given back to the host's file system.
            discard: "unmap",
            file: FileNode {
                driver: file_driver,
                filename: path.as_str(),
                discard: "unmap",
            },
        }
    }

    /// The value of `-blockdev`.
    pub(crate) fn to_json(&self) -> String {
        // Strings and booleans always serialise; were it otherwise, QEMU would refuse the empty
        // value and not start.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether the path is one of a device node. QEMU's `file` driver refuses device nodes and
/// `host_device` refuses files, so the two have to be told apart, and this crate does not look at
/// the disk: a path below `/dev` is a device, unless a file system of files is mounted there.
fn is_device_path(path: &FilePath) -> bool {
    let path = Path::new(path.as_str());
    let is_file = ["/dev/shm", "/dev/hugepages", "/dev/mqueue"]
        .iter()
        .any(|at| path.starts_with(at));
    path.starts_with("/dev") && !is_file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_nodes_are_told_from_files_by_their_folder() {
        let cases = [
            ("/dev/sda", true),
            ("//dev/./mapper/vg-lv", true),
            ("/dev/shm/disk.raw", false),
            ("/devices/disk.raw", false),
            ("/srv/dev/sda", false),
        ];
        for (path, expected) in cases {
            assert_eq!(
                is_device_path(&FilePath::new(path).unwrap()),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn a_hostile_path_stays_one_value() {
        for path in [
            "/a,read-only=off",
            "/a\",\"driver\":\"nbd",
            "/a b=c\\",
            "/\u{202e}é",
            "/dev/a,b",
        ] {
            let path = FilePath::new(path).unwrap();
            let json = BlockNode::of_flash("pflash0", &path, true).to_json();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            let driver = if path.as_str().starts_with("/dev/") {
                "host_device"
            } else {
                "file"
            };
            assert_eq!(
                value,
                serde_json::json!({
                    "node-name": "pflash0", "driver": "raw", "read-only": true, "discard": "unmap",
                    "file": { "driver": driver, "filename": path.as_str(), "discard": "unmap" },
                })
            );
        }
    }
}
