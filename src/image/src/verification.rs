//! What `qemu-img` says of a disk that is about to become a base image.
//!
//! The header was read before ([`crate::header`]), so what is opened here names no other file. It
//! is asked all the same: two readers that do not agree on a file mean that it is hostile.

use std::fs::File;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, ErrorKind};
use crate::file::read_head;
use crate::header::{Format, HEAD_BYTES, find_format};
use crate::limits::LONG_PROGRAM;
use crate::program::{QEMU_IMG, SHA256SUM};
use crate::record::Measured;

/// What `qemu-img info --output=json` says, as far as it matters; it says more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    virtual_size: u64,
    format: String,
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
}

/// Makes sure that a file is a sound qcow2 image that needs no other file, and measures it.
///
/// # Errors
/// [`ErrorKind::Refused`] where it is not.
pub(crate) fn measure(disk: &Path) -> Result<Measured, Error> {
    let at = |error| Error::file(format!("cannot read '{}'", disk.display()), error);
    let file = File::open(disk).map_err(at)?;
    let file_bytes = file.metadata().map_err(at)?.len();
    let head = read_head(&file, HEAD_BYTES).map_err(at)?;
    let disk_bytes = match find_format(&head, file_bytes) {
        Ok(Format::Qcow2 { disk_bytes }) => disk_bytes,
        Ok(Format::Raw) => return Err(refused("it is not qcow2")),
        Err(because) => return Err(refused(&because)),
    };
    expect_same(disk, disk_bytes)?;
    expect_sound(disk)?;
    let file = File::open(disk).map_err(at)?;
    let sum = SHA256SUM.call().file(file).limit(LONG_PROGRAM).run()?;
    let sha256 = sum.get(..64).unwrap_or_default().to_owned();
    Ok(Measured {
        disk_bytes,
        file_bytes,
        sha256,
    })
}

pub(crate) fn refused(because: &str) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!("the image is refused: {because}"),
    )
}

fn expect_same(disk: &Path, disk_bytes: u64) -> Result<(), Error> {
    let call = QEMU_IMG
        .call()
        .arguments(["info", "--output=json", "-f", "qcow2"]);
    let answer = call.argument(disk).run()?;
    let info: Info = serde_json::from_str(&answer).map_err(|error| {
        let what = format!("cannot understand what 'qemu-img info' says: {error}");
        Error::new(ErrorKind::Program, what)
    })?;
    let is_same = info.virtual_size == disk_bytes
        && info.format == "qcow2"
        && info.backing_filename.is_none()
        && !info.encrypted;
    match is_same {
        true => Ok(()),
        false => Err(refused(
            "its header says one thing to vfioctl and another to QEMU",
        )),
    }
}

fn expect_sound(disk: &Path) -> Result<(), Error> {
    let call = QEMU_IMG.call().arguments(["check", "-q", "-f", "qcow2"]);
    let ended = call.argument(disk).limit(LONG_PROGRAM).run_to_any_end()?;
    match ended.status.code() {
        // Clusters that nobody uses cost room and nothing else (`qemu-img(1)`, status 3).
        Some(0 | 3) => Ok(()),
        Some(2) => Err(refused("its tables are damaged, as 'qemu-img check' says")),
        _ => Err(ended.error(QEMU_IMG)),
    }
}
