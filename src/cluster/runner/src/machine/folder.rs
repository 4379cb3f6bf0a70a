//! The folder of a machine: its disk, its seed, its firmware's variables, its key, and a note of what was
//! decided and how far it has come.
//!
//! It is made whole, under another name, before anything else is, and goes when nothing of the task is
//! left. So where there is none, there is nothing to undo.
//!
//! Where machines run as another user, their group may pass through the folder and open the files that
//! are QEMU's; nobody else may.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vfioctl_api::{Exit, ImageName, TaskId};

use crate::whole_file;

/// Longest note that is read back; one has less than 2 KiB.
const MAX_NOTE: u64 = 64 << 10;
/// How the names of folders begin that are being made, and those that go. None of a task does.
const NEW: &str = ".new-";
const GONE: &str = ".gone-";

/// The folders of all machines.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    all: PathBuf,
    /// Whose machines run, where that is another user: its group.
    group: Option<u32>,
}

/// The folder of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MachineFolder {
    path: PathBuf,
    group: Option<u32>,
}

/// A folder in the making; it is gone when this is dropped before it is published.
#[derive(Debug)]
pub(super) struct NewFolder {
    at: MachineFolder,
    becomes: PathBuf,
}

/// What is in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The disk: an overlay of the base image.
    Disk,
    /// What cloud-init reads.
    Seed,
    /// The machine's own copy of the firmware's variables.
    Variables,
    /// The private half of the key by which the machine proves that it is itself.
    HostKey,
    /// The note.
    Note,
    /// Where QEMU meets its network.
    Socket,
    /// Which process the network is.
    Network,
    /// What the guest wrote to its console, once the run is over.
    Console,
    /// What QEMU said, once the run is over.
    Qemu,
}

/// What was decided of a machine, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub(super) schema: u32,
    /// The base image.
    pub(super) image: ImageName,
    /// The code of the firmware that the variables belong to; none: it starts by BIOS.
    pub(super) firmware: Option<String>,
    /// The user that its seed makes.
    pub(super) user: String,
    /// The public half of its key, on its line.
    pub(super) host_key: String,
    /// The port that it is reached at.
    pub(super) port: u16,
    /// Whether its network is passt's.
    pub(super) has_passt: bool,
    /// The run that was begun last; 0: none was. Written before the helper is asked to start it.
    pub(super) begun: u32,
    /// How the run before ended that ended last.
    pub(super) ended: Option<Ended>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    pub(super) run: u32,
    pub(super) exit: Exit,
    /// How, and what became of its devices, as sentences.
    pub(super) told: Vec<String>,
}

impl Note {
    /// Version of the file.
    pub(super) const SCHEMA: u32 = 1;
}

impl Folders {
    /// The folders below the runner's own. Nothing is touched.
    pub(super) fn below(data: &Path, group: Option<u32>) -> Self {
        Self {
            all: data.join("machines"),
            group,
        }
    }

    /// Makes the folder of folders where it is missing, lets the group through, and removes what an
    /// earlier runner has left half done.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn prepare(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.all)?;
        open_to_group(&self.all, self.group)?;
        for entry in fs::read_dir(&self.all)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(NEW) || name.starts_with(GONE) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The folder of a task.
    pub(super) fn of(&self, task: &TaskId) -> MachineFolder {
        MachineFolder {
            path: self.all.join(task.as_str()),
            group: self.group,
        }
    }

    /// The tasks that have one.
    pub(super) fn tasks(&self) -> Vec<TaskId> {
        let entries = fs::read_dir(&self.all).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Begins a folder for a task.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn begin(&self, task: &TaskId) -> io::Result<NewFolder> {
        let path = self.all.join(format!("{NEW}{task}"));
        remove_tree(&path)?;
        DirBuilder::new().mode(0o700).create(&path)?;
        let group = self.group;
        Ok(NewFolder {
            at: MachineFolder { path, group },
            becomes: self.all.join(task.as_str()),
        })
    }
}

impl NewFolder {
    /// The folder, as it is now.
    pub(super) fn at(&self) -> &MachineFolder {
        &self.at
    }

    /// Puts it into its place, whole.
    ///
    /// # Errors
    /// Where it cannot be.
    pub(super) fn publish(self) -> io::Result<()> {
        open_to_group(&self.at.path, self.at.group)?;
        sync(&self.at.path)?;
        fs::rename(&self.at.path, &self.becomes)?;
        let parent = self.becomes.parent().unwrap_or(&self.becomes);
        sync(parent)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // What cannot be removed now, the next runner removes. After it was published there is none.
        let _ = remove_tree(&self.at.path);
    }
}

impl MachineFolder {
    /// Where something lies.
    pub(super) fn path(&self, place: Place) -> PathBuf {
        self.path.join(match place {
            Place::Disk => "disk.qcow2",
            Place::Seed => "seed.img",
            Place::Variables => "vars.fd",
            Place::HostKey => "host_key",
            Place::Note => "machine.json",
            Place::Socket => "net.sock",
            Place::Network => "network.json",
            Place::Console => "console.log",
            Place::Qemu => "qemu.log",
        })
    }

    /// The group that QEMU's files are for.
    pub(super) fn group(&self) -> Option<u32> {
        self.group
    }

    /// Whether it is there.
    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// The note; none where there is no folder.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn note(&self) -> io::Result<Option<Note>> {
        let file = match fs::File::open(self.path(Place::Note)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.exists() => {
                return Ok(None);
            }
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_NOTE).read_to_end(&mut bytes)?;
        let note: Note = serde_json::from_slice(&bytes)?;
        match note.schema {
            Note::SCHEMA => Ok(Some(note)),
            other => Err(io::Error::other(format!(
                "it has version {other}, and {} is known",
                Note::SCHEMA
            ))),
        }
    }

    /// Writes the note; it is on disk when this returns.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn write_note(&self, note: &Note) -> io::Result<()> {
        whole_file::write(&self.path(Place::Note), &serde_json::to_vec(note)?, 0o600)
    }

    /// Lets QEMU have a file that is there: to read, or to write.
    ///
    /// # Errors
    /// Where its mode cannot be set.
    pub(super) fn give_to_qemu(&self, place: Place, is_written: bool) -> io::Result<()> {
        let path = self.path(place);
        let mode = match (self.group.is_some(), is_written) {
            (false, _) => 0o600,
            (true, false) => 0o640,
            (true, true) => 0o660,
        };
        // The group first: the mode must never hold for the wrong one.
        if let Some(group) = self.group {
            std::os::unix::fs::chown(&path, None, Some(group))?;
        }
        fs::set_permissions(&path, Permissions::from_mode(mode))
    }

    /// Removes it with everything in it; it is gone at once or not at all, and what is left of it then, the
    /// next runner removes.
    ///
    /// # Errors
    /// Where something is left.
    pub(super) fn remove(&self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let gone = self.path.with_file_name(format!("{GONE}{name}"));
        remove_tree(&gone)?;
        match fs::rename(&self.path, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        remove_tree(&gone)
    }
}

/// Lets a group pass through a folder, without seeing what is in it; its own files are of that group then.
fn open_to_group(path: &Path, group: Option<u32>) -> io::Result<()> {
    let Some(group) = group else {
        return fs::set_permissions(path, Permissions::from_mode(0o700));
    };
    std::os::unix::fs::chown(path, None, Some(group))?;
    fs::set_permissions(path, Permissions::from_mode(0o2710))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::machine::sample::note;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let data = tempfile::tempdir().unwrap();
        let folders = Folders::below(data.path(), None);
        folders.prepare().unwrap();
        let task = TaskId::new(1, 1);
        let folder = folders.of(&task);
        let half = folders.begin(&task).unwrap();
        half.at().write_note(&note()).unwrap();
        assert!(!folder.exists() && folder.note().unwrap().is_none());
        drop(half);
        assert_eq!(names(&folders.all), Vec::<String>::new());
        let whole = folders.begin(&task).unwrap();
        whole.at().write_note(&note()).unwrap();
        whole.publish().unwrap();
        assert_eq!(names(&folders.all), [task.as_str()]);
        assert_eq!(folder.note().unwrap(), Some(note()));
        assert_eq!(folders.tasks(), std::slice::from_ref(&task));
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert!(names(&folders.all).is_empty());
        assert_eq!(folder.note().unwrap(), None);
    }

    #[test]
    fn what_an_earlier_runner_left_half_done_goes_and_machines_stay() {
        let data = tempfile::tempdir().unwrap();
        let folders = Folders::below(data.path(), None);
        folders.prepare().unwrap();
        let task = TaskId::new(1, 1);
        let made = folders.begin(&task).unwrap();
        made.publish().unwrap();
        // As a kill leaves them.
        fs::create_dir(folders.all.join(".new-x")).unwrap();
        fs::create_dir(folders.all.join(".gone-x")).unwrap();
        fs::write(folders.all.join(".gone-x/disk.qcow2"), "").unwrap();
        folders.prepare().unwrap();
        assert_eq!(names(&folders.all), [task.as_str()]);
    }

    #[test]
    fn nobody_but_the_group_of_machines_gets_in() {
        let data = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let own = rustix::process::getegid().as_raw();
        for (group, folder_mode, modes) in [
            (None, 0o700, [0o600; 2]),
            (Some(own), 0o2710, [0o640, 0o660]),
        ] {
            let folders = Folders::below(data.path(), group);
            folders.prepare().unwrap();
            assert_eq!(mode(&folders.all), folder_mode);
            let made = folders.begin(&TaskId::new(1, 1)).unwrap();
            for (place, is_written, expected) in [
                (Place::Seed, false, modes[0]),
                (Place::Disk, true, modes[1]),
            ] {
                fs::write(made.at().path(place), "").unwrap();
                made.at().give_to_qemu(place, is_written).unwrap();
                assert_eq!(mode(&made.at().path(place)), expected);
            }
            let folder = folders.of(&TaskId::new(1, 1));
            made.publish().unwrap();
            assert_eq!(mode(&folder.path), folder_mode);
            folder.remove().unwrap();
        }
    }

    #[test]
    fn a_note_of_another_version_is_not_guessed_at() {
        let data = tempfile::tempdir().unwrap();
        let folders = Folders::below(data.path(), None);
        folders.prepare().unwrap();
        let made = folders.begin(&TaskId::new(1, 1)).unwrap();
        let newer = Note {
            schema: 2,
            ..note()
        };
        made.at().write_note(&newer).unwrap();
        assert!(made.at().note().is_err());
        fs::remove_file(made.at().path(Place::Note)).unwrap();
        assert!(made.at().note().is_err(), "a folder without a note");
    }
}
