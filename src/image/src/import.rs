//! Importing a file as a base image.
//!
//! The file is copied first, to where only this user writes, and what is looked at is the copy: the
//! file itself may be somebody's who changes it in between.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::file::{copy_sparse, open_regular, read_head};
use crate::header::{Format, HEAD_BYTES, find_format};
use crate::library::{Image, Library};
use crate::limits::LONG_PROGRAM;
use crate::name::ImageName;
use crate::program::{QEMU_IMG, expect_programs};
use crate::record::{Description, Firmware, Origin};
use crate::verification::refused;
use crate::work::WorkFolder;

/// A file that shall become a base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The file.
    pub file: PathBuf,
    /// The name of the image.
    pub name: ImageName,
    /// What it boots with.
    pub firmware: Firmware,
}

impl Import {
    /// What importing would do, as sentences; changes nothing.
    ///
    /// # Errors
    /// Where it would be refused.
    pub fn plan(&self, library: &Library) -> Result<Vec<String>, Error> {
        expect_programs(&[QEMU_IMG])?;
        library.expect_free(&self.name)?;
        let format = read_format(&open_regular(&self.file)?, &self.file)?;
        let file = self.file.display();
        let disk = library.disk_path(&self.name);
        let mut steps = vec![format!(
            "copy '{file}' into '{}'",
            library.folder().display()
        )];
        steps.extend(match format {
            Format::Raw => Some("convert it to qcow2".to_owned()),
            Format::Qcow2 { .. } => None,
        });
        steps.push("check it with qemu-img and note its SHA-256".to_owned());
        steps.push(format!("name it '{}'", disk.display()));
        Ok(steps)
    }

    /// Imports it. `tell` hears of each thing before it is done.
    ///
    /// # Errors
    /// Where it is refused or something fails; then nothing is left of it.
    pub fn run(&self, library: &Library, tell: &mut dyn FnMut(&str)) -> Result<Image, Error> {
        expect_programs(&[QEMU_IMG])?;
        let file = open_regular(&self.file)?;
        // What cannot be taken is told before anything is made.
        read_format(&file, &self.file)?;
        library.prepare()?;
        library.expect_free(&self.name)?;
        let work = WorkFolder::make(library.folder())?;
        let copy = work.join("copy");
        tell(&format!("copying '{}'", self.file.display()));
        copy_sparse(&file, &copy).map_err(|error| {
            let what = format!("cannot copy '{}'", self.file.display());
            Error::file(what, error).with_hint("make room where the images are")
        })?;
        let copied = open_regular(&copy)?;
        let (disk, format) = match read_format(&copied, &self.file)? {
            Format::Qcow2 { .. } => (copy, "qcow2"),
            Format::Raw => (convert(&copy, &work, tell)?, "raw"),
        };
        let said = Description {
            origin: Origin::File {
                file: file_name(&self.file),
                format: format.to_owned(),
            },
            firmware: self.firmware,
            distribution: None,
            cloud_init: None,
        };
        library.publish(&disk, &self.name, said, tell)
    }
}

fn convert(copy: &Path, work: &WorkFolder, tell: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    tell("converting it to qcow2");
    let disk = work.join("disk");
    let call = QEMU_IMG
        .call()
        .arguments(["convert", "-f", "raw", "-O", "qcow2"]);
    call.argument(copy)
        .argument(&disk)
        .limit(LONG_PROGRAM)
        .run()?;
    Ok(disk)
}

fn read_format(file: &File, path: &Path) -> Result<Format, Error> {
    let at = |error| Error::file(format!("cannot read '{}'", path.display()), error);
    let bytes = file.metadata().map_err(at)?.len();
    let head = read_head(file, HEAD_BYTES).map_err(at)?;
    find_format(&head, bytes).map_err(|because| {
        let hint = "take an image that is whole in itself: 'qemu-img convert -O qcow2 FILE NEW' \
                    makes one of a file that you trust";
        refused(&format!("'{}': {because}", path.display())).with_hint(hint)
    })
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The name that an image of a file gets where none is given.
///
/// # Errors
/// Where the file's name gives none.
pub fn name_for(file: &Path) -> Result<ImageName, Error> {
    let name = ImageName::suggested_by(&file_name(file));
    name.ok_or_else(|| {
        let what = format!(
            "the name of '{}' gives no name for an image",
            file.display()
        );
        Error::new(ErrorKind::Refused, what).with_hint("give one with --name")
    })
}
