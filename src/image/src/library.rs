//! The library: a folder of base images, each a `NAME.qcow2` with a `NAME.json` beside it.
//!
//! An image is there when both files are. The record comes first and the disk second, the other
//! way round when it goes; so after a crash in between there is a record without a disk, which
//! means nothing and is replaced or removed by whoever comes next. A file that has no record is
//! somebody else's and is not touched.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, ErrorKind};
use crate::file::{Access, folder_of, move_new, open_regular, sync_folder, write_whole};
use crate::limits::{LOCK, LOCK_PAUSE, MAX_IMAGES, MAX_RECORD_BYTES};
use crate::name::ImageName;
use crate::record::{Description, Record};
use crate::verification::measure;

const LOCK_FILE: &str = ".lock";

/// A folder of base images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    folder: PathBuf,
    group: Option<u32>,
}

/// A base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// The path of its disk.
    pub path: PathBuf,
    /// What is known of it.
    pub record: Record,
}

/// What is in a library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The images, by name.
    pub images: Vec<Image>,
    /// What is in the folder and cannot be used, as sentences.
    pub problems: Vec<String>,
}

impl Library {
    /// Where it is unless somebody says otherwise.
    pub const DEFAULT_FOLDER: &str = "/var/lib/vfioctl-runner/images";

    /// The library in a folder. New files get this group, or else the one of the folder.
    pub fn at(folder: impl Into<PathBuf>, group: Option<u32>) -> Self {
        Self {
            folder: folder.into(),
            group,
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lists what is there; nothing, where there is no folder.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn list(&self) -> Result<Listing, Error> {
        let at = |error: io::Error| {
            Error::file(
                format!("cannot read the folder '{}'", self.folder.display()),
                error,
            )
            .with_hint("run it as a user who may read the folder, or with sudo")
        };
        let names = match self.names() {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            Err(error) => return Err(at(error)),
        };
        let mut listing = Listing::default();
        if names.len() > MAX_IMAGES {
            let what = format!("only the first {MAX_IMAGES} images are listed");
            listing.problems.push(what);
        }
        for name in names.into_iter().take(MAX_IMAGES) {
            match self.find(&name) {
                Ok(image) => listing.images.push(image),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => listing.problems.push(error.to_string()),
            }
        }
        Ok(listing)
    }

    /// Finds an image.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none, [`ErrorKind::Broken`] where what is there is
    /// not what its record says.
    pub fn find(&self, name: &ImageName) -> Result<Image, Error> {
        let path = self.disk_path(name);
        let broken = |because: String| {
            let what = format!("the image '{name}' cannot be used: {because}");
            let hint = format!("remove it with 'vfioctl image rm {name}' and import it again");
            Error::new(ErrorKind::Broken, what).with_hint(hint)
        };
        let disk = match fs::symlink_metadata(&path) {
            Ok(disk) => disk,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = format!("there is no image '{name}' in '{}'", self.folder.display());
                let hint = "see 'vfioctl image list'";
                return Err(Error::new(ErrorKind::NotFound, what).with_hint(hint));
            }
            Err(error) => {
                return Err(Error::file(
                    format!("cannot look at '{}'", path.display()),
                    error,
                ));
            }
        };
        let record = self.read_record(name).map_err(broken)?;
        if !disk.is_file() || disk.len() != record.file_bytes {
            let because = "its file is not the one that was put there";
            return Err(broken(because.to_owned()));
        }
        Ok(Image {
            name: name.clone(),
            path,
            record,
        })
    }

    /// Makes sure that a name is free.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] where it is not.
    pub(crate) fn expect_free(&self, name: &ImageName) -> Result<(), Error> {
        match fs::symlink_metadata(self.disk_path(name)) {
            Ok(_) => Err(self.exists(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                let what = format!("cannot look into '{}'", self.folder.display());
                Err(Error::file(what, error).with_hint("run it with sudo"))
            }
        }
    }

    fn exists(&self, name: &ImageName) -> Error {
        let what = format!("there is an image '{name}' already");
        let hint = format!("take another --name, or 'vfioctl image rm {name}' before");
        Error::new(ErrorKind::Exists, what).with_hint(hint)
    }

    /// Makes the folder where it is missing, and makes sure that it is fit for images.
    ///
    /// # Errors
    /// Where it cannot be made, or everybody may write to it.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let at = |error: io::Error| {
            Error::file(
                format!("cannot make the folder '{}'", self.folder.display()),
                error,
            )
            .with_hint("run it with sudo, or name another folder with --images")
        };
        fs::create_dir_all(folder_of(&self.folder)).map_err(at)?;
        match fs::DirBuilder::new().mode(0o750).create(&self.folder) {
            Ok(()) => {
                let folder = File::open(&self.folder).map_err(at)?;
                let (group, mode) = (self.group, 0o750);
                Access { group, mode }.give(&folder).map_err(at)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(error)),
        }
        let found = fs::metadata(&self.folder).map_err(at)?;
        if found.mode() & 0o002 != 0 {
            let folder = self.folder.display();
            let what = format!("everybody may write to '{folder}', so nobody can trust its images");
            let hint = format!("take that away: sudo chmod o-w {folder}");
            return Err(Error::new(ErrorKind::Refused, what).with_hint(hint));
        }
        Ok(())
    }

    /// Puts a disk into the library: checks it, describes it, and moves both into their places.
    /// One image appears, or none.
    ///
    /// # Errors
    /// Where it is damaged, the name was taken in between, or something cannot be written.
    pub(crate) fn publish(
        &self,
        disk: &Path,
        name: &ImageName,
        said: Description,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Image, Error> {
        tell("checking the image and its sum");
        let read = measure(disk)?;
        let access = self.access()?;
        let at = |error| Error::file(format!("cannot write '{}'", disk.display()), error);
        File::open(disk)
            .and_then(|file| access.give(&file))
            .map_err(at)?;
        let record = Record::new(name, said, read, now());
        let bytes = record.to_bytes().map_err(|error| at(error.into()))?;
        // Beside the disk, in the folder to work in, which is swept with all that is in it.
        let written = folder_of(disk).join("record");
        write_whole(&written, &bytes, access)?;
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        self.expect_free(name)?;
        self.remove_halves();
        let path = self.disk_path(name);
        fs::rename(&written, self.record_path(name)).map_err(at)?;
        move_new(disk, &path)?;
        Ok(Image {
            name: name.clone(),
            path,
            record,
        })
    }

    /// Removes records whose disk never came or has gone, as far as they are ours. What cannot be
    /// removed does no harm.
    fn remove_halves(&self) {
        for name in self.names().unwrap_or_default() {
            let is_there = fs::symlink_metadata(self.disk_path(&name)).is_ok();
            if !is_there && self.read_record(&name).is_ok() {
                let _ = fs::remove_file(self.record_path(&name));
            }
        }
    }

    /// The names that have a record, in order.
    fn names(&self) -> io::Result<Vec<ImageName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let file_name = entry?.file_name();
            let stem = file_name
                .to_str()
                .and_then(|name| name.strip_suffix(".json"));
            names.extend(stem.and_then(|stem| stem.parse::<ImageName>().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// The record of an image.
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence.
    fn read_record(&self, name: &ImageName) -> Result<Record, String> {
        let mut bytes = Vec::new();
        open_regular(&self.record_path(name))
            .map_err(|error| error.to_string())?
            .take(MAX_RECORD_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        Record::parse(&bytes, name)
            .map_err(|because| format!("its record cannot be understood: {because}"))
    }

    /// Who may read an image: the group of the library, and never everybody.
    fn access(&self) -> Result<Access, Error> {
        let at = |error| Error::file(format!("cannot look at '{}'", self.folder.display()), error);
        let group = match self.group {
            Some(group) => group,
            None => fs::metadata(&self.folder).map_err(at)?.gid(),
        };
        Ok(Access {
            group: Some(group),
            mode: 0o640,
        })
    }

    /// Removes the files of an image; the disk first, which ends the image.
    pub(crate) fn remove_files(&self, name: &ImageName) -> Result<(), Error> {
        for path in [self.disk_path(name), self.record_path(name)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let what = format!("cannot remove '{}'", path.display());
                    return Err(Error::file(what, error).with_hint("run it with sudo"));
                }
                _ => {}
            }
        }
        sync_folder(&self.folder)
            .map_err(|error| Error::file("cannot write the folder of images", error))
    }

    /// Takes the library for a moment: alone, or with others who only add overlays.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] where somebody does not let go of it.
    pub(crate) fn lock(&self, operation: FlockOperation) -> Result<File, Error> {
        let path = self.folder.join(LOCK_FILE);
        let at = |error: io::Error| Error::file(format!("cannot lock '{}'", path.display()), error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut options = OpenOptions::new();
                let options = options.read(true).write(true).create(true);
                let file = options.mode(0o640).open(&path).map_err(at)?;
                self.access()?.give(&file).map_err(at)?;
                file
            }
            Err(error) => return Err(at(error)),
        };
        let deadline = Instant::now() + LOCK;
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let what = "somebody else works with the images at this moment";
                    return Err(Error::new(ErrorKind::Busy, what).with_hint("try again"));
                }
                Err(errno) => return Err(at(errno.into())),
            }
        }
    }

    pub(crate) fn disk_path(&self, name: &ImageName) -> PathBuf {
        self.folder.join(format!("{name}.qcow2"))
    }

    fn record_path(&self, name: &ImageName) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
